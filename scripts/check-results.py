#!/usr/bin/env python3
"""Checks the results directory of a script: check-results.py SCRIPT DIRECTORY.

Names of every field, values that can be true, JSON beside CSV, pictures, environment. Prints what
is wrong, a line each, and `checks N`; exit code 1 if anything is. Needs nothing but Python 3.
"""

import csv
import json
import pathlib
import re
import sys
import xml.etree.ElementTree

FIELDS = """time_s publishers players verified drained stuck slow idle kbps joined failed closed
put_out join_p50_ms join_p99_ms join_max_ms churn_joins churn_failed churn_p50_ms churn_p99_ms churn_max_ms
storm_joins storm_failed storm_ms frames_sent publisher_late_max_ms latency_samples latency_p50_ms
latency_p99_ms latency_p999_ms latency_max_ms latency_resolution_us
audio_p50_ms audio_p99_ms audio_max_ms read_delay_p99_ms messages
verified_messages gaps corrupt reordered backward_timestamps bad_starts short_players bytes mbps
load_cpu_ms load_cpu_percent load_waited_percent load_rss_kib load_voluntary_switches
load_involuntary_switches
server_cpu_ms server_cpu_percent server_rss_kib server_rss_max_kib server_voluntary_switches
server_involuntary_switches cpu_ms_per_gbit both_cpu_ms_per_gbit first_failure valid
good""".split()
# Script: own columns, number of rows, pictures, other CSV files with their columns.
SCRIPTS = {
    "load": ("server loops", 3, "cpu latency throughput", {}),
    "latency": ("policy round", 3, "latency cpu", {
        "summary": "policy latency_p50_ms latency_p99_ms latency_p999_ms audio_p99_ms "
                   "server_cpu_percent load_cpu_percent"}),
    "churn": ("beside round", 2, "latency joins", {}),
    "slow": ("beside round total_players skipping_readers charged_peak_bytes budget_bytes "
             "rss_max_kib", 2, "latency", {}),
    "idle": ("who count wakeups_most rss_few_kib rss_many_kib bytes_each", 3, "memory", {}),
    "soak": ("who visit", 2, "memory", {"samples": "minutes rss_kib threads"}),
    "compare": ("server round", 3, "cost p99 ratios", {
        "ratios": "other figure min median max rounds"}),
    "floor": ("server round", 2, "cost", {
        "cost": "server min median max", "ratios": "min median max rounds"}),
    "loops": ("case round", 4, "cost", {"ratios": "shape loops min median max rounds"}),
    "prove-memory": ("peers peak_bytes budget_bytes peak_percent rss_max_kib closed_for_memory "
                     "refused", 6, "memory", {}),
}
ENVIRONMENT = """command date commit kernel cpu cores governor memory nofile pins
net.core.somaxconn net.ipv4.ip_local_port_range net.ipv4.tcp_mem""".split()
# Above 0 in every row with a stream.
POSITIVE = """time_s publishers players kbps joined join_p50_ms frames_sent latency_samples
latency_p50_ms latency_max_ms latency_resolution_us messages verified_messages bytes mbps
load_cpu_ms load_rss_kib server_cpu_ms server_rss_kib server_rss_max_kib cpu_ms_per_gbit
both_cpu_ms_per_gbit""".split()
ZERO = "failed closed churn_failed corrupt reordered".split()

checks, faults = 0, []


def check(is_true, what):
    global checks
    checks += 1
    if not is_true:
        faults.append(what)


def table(path):
    with open(path, newline="", encoding="utf-8") as file:
        header, *rows = list(csv.reader(file))
    check(all(len(row) == len(header) for row in rows), f"{path}: rows of other lengths")
    return header, [dict(zip(header, row)) for row in rows]


def number(row, name):
    try:
        return float(row.get(name, ""))
    except ValueError:
        return float("nan")


def check_row(row, where):
    has_stream = number(row, "publishers") > 0
    if has_stream:
        for name in POSITIVE:
            check(number(row, name) > 0, f"{where}: {name} is '{row.get(name)}'")
        times = [number(row, f"latency_{name}_ms") for name in ("p50", "p99", "p999", "max")]
        check(times == sorted(times), f"{where}: latencies {times}")
        parts = [number(row, name) for name in ("verified", "drained", "players")]
        check(parts[0] + parts[1] == parts[2], f"{where}: verified, drained, players {parts}")
        # Players of a stream get about its bit rate: frames are of some size, seconds are few.
        rate = number(row, "mbps") * 1000 / number(row, "kbps") / max(number(row, "players"), 1)
        check(0.5 < rate < 2, f"{where}: each player gets {rate} of the bit rate")
    for name in ZERO:
        check(row.get(name) in ("0", ""), f"{where}: {name} is '{row.get(name)}'")
    check(number(row, "joined") >= number(row, "players") + number(row, "idle"), f"{where}: joined")
    check(row.get("valid") == "true", f"{where}: valid is '{row.get('valid')}'")


def as_cell(value):
    if value is None:
        return ""
    return str(value).lower() if isinstance(value, bool) else str(value)


def check_json(folder, rows):
    """A file for each row, with the same names in the same order, and the same values."""
    found = {}
    for path in folder.glob("*.json"):
        if path.name == "server.json":
            continue
        figures = json.loads(path.read_text())
        check(list(figures) == FIELDS, f"{path.name}: its names are not the fields")
        found[tuple(as_cell(value) for value in figures.values())] = path.name
    check(len(found) == len(rows), f"{len(found)} JSON files for {len(rows)} rows")
    for row in rows:
        cells = tuple(row[name] for name in FIELDS)
        check(cells in found, f"no JSON file has the values of {list(row.values())[:3]}")


def check_picture(path):
    root = xml.etree.ElementTree.parse(path).getroot()
    tags = [element.tag.rsplit("}")[-1] for element in root.iter()]
    check(root.tag.endswith("}svg"), f"{path.name} is no SVG")
    has_data = "polyline" in tags or "title" in tags
    check(has_data and tags.count("text") > 4, f"{path.name}: nothing is drawn")


def check_tables(folder, tables):
    for name, columns in tables.items():
        header, rows = table(folder / f"{name}.csv")
        check(header == columns.split(), f"{name}.csv: {header}")
        check(rows and all(all(row.values()) for row in rows), f"{name}.csv: empty cells")


def check_environment(folder, script):
    text = (folder / "environment.txt").read_text()
    known = dict(line.split(": ", 1) for line in text.splitlines() if ": " in line)
    for name in ENVIRONMENT:
        check(known.get(name, "").strip(), f"environment.txt: no {name}")
    # The floor's script starts other servers, the advice none at all.
    if script not in ("floor", "tune"):
        check("millrace --listen" in known.get("server", ""), "environment.txt: no server flags")
    if script == "load":
        estimate = known.get("computed, not measured", "")
        check(re.search("at about [1-9][0-9]* players$", estimate), f"environment.txt: '{estimate}'")
    if script != "tune":
        check("\nload " in text, "environment.txt: no load flags")


def check_load(script, folder):
    own, count, pictures, tables = SCRIPTS[script]
    header, rows = table(folder / "rows.csv")
    check(header == own.split() + FIELDS, f"rows.csv: its names are {header}")
    check(len(rows) >= count, f"rows.csv: {len(rows)} rows instead of {count}")
    for index, row in enumerate(rows):
        check_row(row, f"row {index + 1}")
    check_json(folder, rows)
    check_tables(folder, tables)
    found = {path.stem for path in folder.glob("*.svg")}
    check(found == set(pictures.split()), f"pictures: {sorted(found)}")
    for path in folder.glob("*.svg"):
        check_picture(path)
    if script != "floor":
        check_statistics(folder)


def check_statistics(folder):
    for line in (folder / "server.json").read_text().splitlines():
        statistics = json.loads(line)
        for name in ("accepted", "bytes_in", "bytes_out"):
            total = sum(loop[name] for loop in statistics["loops"])
            check(statistics["total"][name] == total, f"server.json: {name} is not the sum")


def check_tune(folder):
    header, rows = table(folder / "rows.csv")
    check(header == "kind name have want verdict shown_by".split(), f"rows.csv: {header}")
    kinds = [row["kind"] for row in rows]
    check(kinds.count("host") >= 10 and kinds.count("flag") >= 4, f"rows.csv: {kinds}")
    for row in rows:
        check(row["name"] and row["verdict"], f"rows.csv: {row}")
        if row["kind"] == "flag":
            shown = row["shown_by"].split(" ")[0].rstrip(":")
            is_script = (pathlib.Path(__file__).parent / shown).is_file()
            check(shown == "untested" or is_script, f"{row['name']}: shown by '{shown}'")


def main():
    script, folder = sys.argv[1], pathlib.Path(sys.argv[2])
    try:
        check_environment(folder, script)
        if script == "tune":
            check_tune(folder)
        else:
            check_load(script, folder)
    except (OSError, ValueError, KeyError, xml.etree.ElementTree.ParseError) as error:
        check(False, f"{type(error).__name__}: {error}")
    for fault in faults:
        print(f"{script}: {fault}")
    print(f"checks {checks}")
    sys.exit(1 if faults else 0)


main()
