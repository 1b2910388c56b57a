"""One snapshot function per source: a typed frame for the whole fleet. Never writes."""
