"""Speed and memory beside what people would use instead: `make bench` writes docs/benchmarks.md.

A section measures one thing. It is a module of this package with

    TITLE              heading of its part of the page
    run(url, size)     measures against the prefix `url` of a bucket and returns rows: dicts of JSON values
    report(rows)       says in Markdown what the rows say
    plots(rows)        optional: SVG drawings by name, each written to docs/benchmarks-NAME.svg

and a line in `bench.sections.SECTIONS`. `bench.child.measure` runs a contender in a process of its own.
"""
