#!/usr/bin/env python3
# Keeps what it gets, and says so: Exec(from: [...], run: ["./feed.py", "/path/of/FILE"],
# mode: Acknowledged). Each line is a JSON object, each answer a line.
import json, sys

for line in sys.stdin:
    entry = json.loads(line)
    try:
        with open(sys.argv[1], "a") as out:
            print(entry["id"], entry.get("text"), file=out)
        print("OK", flush=True)
    except OSError as error:
        print("DEFER", error, flush=True)
