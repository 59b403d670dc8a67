"""What lies at a URL: listed, shown, checked, cleaned up, copied; from the store alone, without Prefect.

`records` reads every record below a URL, and `objects` tells from a name which target an object belongs to.
On them stand `listing`, `showing`, `lineage`, `misses`, `verifying` and `copying`; `surveying` sees what
nothing refers to, and `collecting` removes it.
"""
