"""Speed and memory beside what people would use instead: `make bench` writes docs/benchmarks.md."""
