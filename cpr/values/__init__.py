"""What a task returns around its results, as JSON values and back with the types that it had.

`containers` packs lists, dictionaries, tuples and objects of classes that hold resources, `unpacking`
undoes it; `scalars` are what has no parts, and `classes` finds a class again by its name. Nothing that a
record names is imported or called, unless it is registered.
"""
