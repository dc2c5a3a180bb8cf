"""Tables, targets and the plot."""

import statistics
import subprocess


NOISE = "noise"  # the raw server once more


def median(values):
    return statistics.median(values)


def ratios(rounds, name, base, key="cpu_ns", beside=None):
    """Returns the ratio to the base for each round in which both were measured. The base's figures are
    those of the workload with the rounds @beside, or of the same one."""
    return [r[name][key] / b[base][key] for r, b in zip(rounds, beside or rounds)
            if name in r and base in b and b[base][key] > 0]


def ratios_of(workload, load, name):
    """Returns the ratios of a server in a workload to what the workload compares with."""
    return ratios(load[workload["name"]], name, workload["base"],
                  beside=load.get(workload.get("beside")))


def spread(values, form="{:.2f}"):
    """Returns the median, and the quartiles if there are enough values."""
    text = form.format(median(values))
    if len(values) >= 4:
        low, _, high = statistics.quantiles(values, n=4)
        text += f" [{form.format(low)}, {form.format(high)}]"
    return text


def print_load(out, workload, load, peers):
    rounds, base, beside = load[workload["name"]], workload["base"], workload.get("beside")
    to = f"{base} in {beside}" if beside else base
    print(f"\n{workload['title']}  (ratio: CPU per message to {to}; median [quartiles] of "
          f"{len(rounds)} rounds)", file=out)
    print(f"  {'':<51}{'CPU us':>9}  {'ratio':<20}{'msg/s':>11}{'p50 us':>10}{'p99 us':>10}"
          f"{'p99.9 us':>10}", file=out)
    titles = [(p["name"], p["title"]) for p in peers]
    titles += [(NOISE, title + " (once more)") for name, title in titles if name == base]
    for name, title in titles:
        rows = [r[name] for r in rounds if name in r]
        if not rows:
            continue
        column = {key: median([row[key] for row in rows]) for key in rows[0]}
        ratio = ratios_of(workload, load, name)
        print(f"  {title:<51}{column['cpu_ns'] / 1000:>9.3f}  "
              f"{spread(ratio) if ratio else '':<20}{column['rate']:>11,.0f}"
              f"{column['p50_us']:>10.1f}{column['p99_us']:>10.1f}{column['p999_us']:>10.1f}",
              file=out)


def print_costs(out, costs, peers):
    columns = [("instructions", "instr/msg", "{:.0f}"), ("allocations", "alloc/msg", "{:.3f}"),
               ("syscalls", "syscalls/msg", "{:.3f}"), ("epoll_ctl", "epoll_ctl/msg", "{:.4f}"),
               ("syscalls_lines", "…/line (x16)", "{:.3f}"),
               ("idle_bytes", "B/idle conn", "{:,.0f}"), ("start_ms", "start ms", "{:.1f}"),
               ("churn", "connects/s", "{:,.0f}")]
    tls = [("handshakes", "handshakes/s", "{:,.0f}"), ("handshake_us", "CPU us each", "{:.1f}"),
           ("tls_idle_bytes", "B/idle conn", "{:,.0f}")]
    print_columns(out, "Costs  (instructions, allocations: callgrind; system calls: perf; 64 B x 50)",
                  columns, costs, peers)
    print_columns(out, "TLS", tls, costs, peers)


def print_columns(out, heading, columns, costs, peers):
    """Prints the costs in @columns of the peers that have one of them."""
    if not any(key in row for row in costs.values() for key, _, _ in columns):
        return
    print("\n" + heading, file=out)
    print(f"  {'':<44}" + "".join(f"{title:>14}" for _, title, _ in columns), file=out)
    for peer in peers:
        row = costs.get(peer["name"])
        if row and any(key in row for key, _, _ in columns):
            print(f"  {peer['title']:<44}" + "".join(
                f"{form.format(median(row[key])) if row.get(key) else '-':>14}"
                for key, _, form in columns), file=out)


def sealed_share(results):
    """Returns the CPU time of a message of 64 KiB with TLS, relative to that of one without, and the
    sealing and opening of four records as "openssl speed" does it."""
    cipher = results["costs"].get("ackd", {}).get("cipher_ns")
    pairs = [(t["ackd"]["cpu_ns"], p["ackd"]["cpu_ns"]) for t, p in zip(
        results["load"].get("tls-64k", []), results["load"].get("64k-ascii", []))
        if "ackd" in t and "ackd" in p]
    if not cipher or not pairs:
        return None
    return median([tls / (plain + 4 * median(cipher)) for tls, plain in pairs])


def targets(results):
    """Yields the targets of the project: (text, found, limit, the figure of the raw server or None);
    found is None if not measured."""
    rounds, costs = results["load"], results["costs"]

    def ratio(workload, name="ackd", base="epoll_echo", key="cpu_ns", beside=None):
        values = ratios(rounds.get(workload, []), name, base, key, rounds.get(beside))
        return median(values) if values else None

    def cost(name, key):
        values = costs.get(name, {}).get(key)
        return median(values) if values else None

    def minus(a, b):
        return None if a is None or b is None else a - b

    for workload, title, limit in (
            ("64x1", "64 B x 1", 1.05), ("64x50", "64 B x 50", 1.05), ("64x500", "64 B x 500", 1.05),
            ("64x5000", "64 B x 5,000", 1.10), ("1k-ascii", "1 KiB x 50 ASCII", 1.05),
            ("1k-cjk", "1 KiB x 50 CJK", 1.05), ("64k-ascii", "64 KiB x 50 ASCII", 1.10),
            ("64k-cjk", "64 KiB x 50 CJK", 1.30), ("binary", "64 B x 50 binary", 1.0)):
        yield title + ": CPU to raw epoll", ratio(workload), limit, None
    yield "16 lines, ack: CPU to raw epoll's", ratio("lines-ack", base="epoll_ack"), 1.0, None
    for framing in ("delimited", "length"):
        for reply in ("echo", "ack"):
            yield (f"16 frames, {framing}, {reply}: CPU to lines", ratio(
                f"{framing}-{reply}", base="ackd", beside=f"lines-{reply}"), 1.10, None)
    for peer, title, limit in (("go_usual", "Go as usual", 1 / 2), ("go", "Go", 1 / 2),
                               ("node_usual", "node as usual", 1 / 4), ("node", "node", 1 / 4),
                               ("asyncio", "asyncio", 1 / 8)):
        yield ("16 lines, ack: CPU to " + title, ratio("lines-ack", base=peer), limit,
               ratio("lines-ack", "epoll_ack", peer))
    yield "64 B x 50, TLS: CPU to ackd without", ratio("tls", base="ackd", beside="64x50"), 1.35, None
    for peer in ("nginx", "haproxy", "stunnel", "go", "node"):
        yield f"64 B x 50, TLS: CPU to {peer}", ratio("tls", base=peer), 1.0, None
    yield "64 KiB, TLS: CPU to ackd without, and the cipher", sealed_share(results), 1.15, None
    yield "bytes per idle connection with TLS", cost("ackd", "tls_idle_bytes"), 1536, None
    for key, title in (("handshakes", "rate of handshakes"), ("handshake_us", "CPU per handshake")):
        own, other = cost("ackd", key), cost("s_server", key)
        if own and other:
            yield (f"{title}: s_server's to ackd's" if key == "handshakes" else
                   f"{title} to s_server's",
                   other / own if key == "handshakes" else own / other, 1 / 0.9, None)
    yield "64 B x 1, busy_poll: p50 to raw epoll", ratio("64x1", "ackd_busy", key="p50_us"), 0.5, None
    yield "instructions per 64 B echo", cost("ackd", "instructions"), 430, None
    yield "allocations per message", cost("ackd", "allocations"), 0.001, None
    yield "system calls per message above raw epoll's", minus(
        cost("ackd", "syscalls"), cost("epoll_echo", "syscalls")), 0.02, None
    yield "epoll_ctl calls per message", cost("ackd", "epoll_ctl"), 0.001, None
    yield "bytes per idle connection", cost("ackd", "idle_bytes"), 360, None
    yield "start to first reply, ms", cost("ackd", "start_ms"), 10, None
    for peer, title, limit in (("uv_usual", "libuv as usual", 1 / 1.5), ("node", "node", 1 / 1.5),
                               ("go", "Go", 1 / 1.4), ("asyncio", "asyncio", 1 / 4)):
        yield ("64 B x 50: CPU to " + title, ratio("64x50", base=peer), limit,
               ratio("64x50", "epoll_echo", peer))
    yield "share of checking at 64 B", minus(ratio("64x50", base="ackd_nocheck"), 1), 0.01, None
    yield ("share of checking at 1 KiB CJK", minus(ratio("1k-cjk", base="ackd_nocheck"), 1), 0.02,
           None)


def print_targets(out, results):
    print("\nTargets", file=out)
    for text, found, limit, raw in targets(results):
        if found is None:
            continue
        verdict = "met" if found <= limit + 1e-9 else "MISSED"
        if verdict == "MISSED" and raw is not None and raw > limit:
            verdict += f" (raw epoll also: {raw:.3f})"
        print(f"  {text:<48}{found:>10.3f}  <= {limit:<8.3f}{verdict}", file=out)


def print_report(out, results):
    machine = results["machine"]
    print(f"{machine['cpu']}, {machine['cpus']} processors, Linux {machine['kernel']}, "
          f"{results['date']}\n{results['command']}", file=out)
    for workload in results["workloads"]:
        if results["load"].get(workload["name"]):
            print_load(out, workload, results["load"], results["peers"])
    if results["costs"]:
        print_costs(out, results["costs"], results["peers"])
    for name, reason in sorted(results["skipped"].items()):
        print(f"\nskipped: {name}: {reason}", file=out)
    if not results.get("smoke"):
        print_targets(out, results)


def print_markdown(out, results):
    """Prints the ratios of the plotted peers as the table of README.md."""
    peers = [p for p in results["peers"] if p["name"] in PLOTTED]
    print("| | base, us | " + " | ".join(p["title"] for p in peers) + " |", file=out)
    print("|---" * (len(peers) + 2) + "|", file=out)
    for workload in results["workloads"]:
        rounds = [r for r in results["load"].get(workload["name"], []) if workload["base"] in r]
        if not rounds:
            continue
        cells = [f"{median([r[workload['base']]['cpu_ns'] for r in rounds]) / 1000:.2f}"]
        for peer in peers:
            values = ratios_of(workload, results["load"], peer["name"])
            cells.append(f"{median(values):.2f}" if values else "")
        print(f"| {workload['title']} | " + " | ".join(cells) + " |", file=out)


PLOT = """set terminal svg size 1000,480 dynamic noenhanced background rgb "white" font "sans,12"
set output {output}
set title {title}
set ylabel "CPU per message (raw epoll = 1)"
set style data histograms
set style histogram clustered gap 1
set style fill solid 0.9 border -1
set yrange [0:*]
set grid ytics
set key outside right
set datafile missing "NaN"
set xtics rotate by -20
plot for [i=2:{columns}] "$data" using i:xtic(1) title columnheader(i), 1 lc "black" dt 2 notitle
"""

PLOTTED = ["ackd", "uv_careful", "uv_usual", "uring_echo", "go", "node", "asyncio"]


def quote(text):
    return "'" + str(text).replace("'", "''") + "'"


def plot(results, path):
    """Draws the ratios of every workload as an SVG, with gnuplot."""
    peers = [p for p in results["peers"] if p["name"] in PLOTTED
             and any(p["name"] in r for rounds in results["load"].values() for r in rounds)]
    lines = [" ".join(['"workload"', *(f'"{p["title"]}"' for p in peers)])]
    for workload in results["workloads"]:
        if not results["load"].get(workload["name"]):
            continue
        cells = []
        for peer in peers:
            values = ratios_of(workload, results["load"], peer["name"])
            cells.append(f"{median(values):.4f}" if values else "NaN")
        lines.append(" ".join([f'"{workload["title"]}"', *cells]))
    script = "$data << EOD\n" + "\n".join(lines) + "\nEOD\n" + PLOT.format(
        output=quote(path), columns=len(peers) + 1,
        title=quote(f"{results['machine']['cpu']}, {results['date']}")).replace('"$data"', "$data")
    subprocess.run(["gnuplot", "-"], input=script, text=True, check=True)
