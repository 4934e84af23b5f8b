"""All hosts, the worst first: where to look, and whether the exporters can be relied on."""

from panels import CONNTRACK, PORTS, QUEUE, column, dashboard, lines, query, row, stat, table, variable

JOB = 'job=~"$job",instance=~"$instance"'
NETNS = f'{JOB},netns=~"$netns"'
LINK = ("instance", "/d/sockdiag-host?var-datasource=${datasource}&var-job=${__data.fields.job}"
        "&var-instance=${__data.fields.instance}&var-netns=${__data.fields.netns:raw}&${__url_time_range}")
HOST_LINK = ("instance", "/d/sockdiag-host?var-datasource=${datasource}&var-job=${__data.fields.job}"
             "&var-instance=${__data.fields.instance}&${__url_time_range}")
BY = "by (job, instance, netns)"
CONNTRACK_FILL = f"sockdiag_conntrack_entries{{{NETNS}}} / sockdiag_conntrack_entries_limit{{{NETNS}}}"
# Matched on all labels but those that one side lacks: a label of the scrape may be all that tells two hosts apart.
CLOSES = (
    f"max {BY} (sockdiag_ephemeral_destination_closes_per_second{{{NETNS}}} / ignoring (protocol, source, destination, port)"
    f" group_left () sockdiag_ephemeral_sustainable_connects_per_second{{{NETNS}}})"
)
QUEUES = f"sockdiag_listener_backlog_connections{{{NETNS}}} / (sockdiag_listener_backlog_limit_connections{{{NETNS}}} > 0)"
BLOCKED = (
    f"clamp_min(sockdiag_ephemeral_destination_ports_used{{{NETNS}}}"
    f" - sockdiag_ephemeral_destination_ports_reusable{{{NETNS}}}"
    f" - sockdiag_ephemeral_destination_ports_bind_first{{{NETNS}}}, 0)"
    f" / ignoring (protocol, source, destination, port) group_left ()"
    f' max without (scope) (sockdiag_ephemeral_ports_available{{{NETNS},scope="destination"}})'
)
# As the alert SockdiagSnapshotStale has it: answers, but serves no snapshot, or one that no poll has renewed for four
# intervals and two minutes.
SNAPSHOT = f"sockdiag_snapshot_timestamp_seconds{{{JOB}}}"
STALE = (
    f"(max without (version, revision) (sockdiag_build_info{{{JOB}}}) unless {SNAPSHOT})"
    f" or (time() - {SNAPSHOT} > 4 * sockdiag_poll_interval_seconds{{{JOB}}} + 120"
    f" and changes(sockdiag_snapshot_timestamp_seconds{{{JOB}}}[10m]) == 0)"
)


def peak(protocol, scope):
    return f'max {BY} (sockdiag_ephemeral_utilization_peak_ratio{{{NETNS},protocol="{protocol}",scope="{scope}"}})'


def overview():
    worst = f'sockdiag_ephemeral_utilization_peak_ratio{{{NETNS},protocol="tcp",scope="destination"}}'
    return [
        row("Fleet"),
        stat("Hosts", "Exporters that answered the last scrape.", f"count(up{{{JOB}}} == 1) or vector(0)", "short"),
        stat("Exporters down", "Targets whose last scrape failed.", f"count(up{{{JOB}}} == 0) or vector(0)", "short", (1, 2)),
        stat("Stale exporters", "Exporters that answer without a current snapshot.", f"count({STALE}) or vector(0)", "short", (1, 2)),
        stat("Hosts above 70 %", "Hosts (and namespaces) whose worst TCP destination had more than 70 % of its ports blocked within the last minute.",
             f"count({worst} > 0.7) or vector(0)", "short", (1, None)),
        stat("Hosts above 90 %", "The same above 90 %: there connect() is about to fail.", f"count({worst} > 0.9) or vector(0)", "short", (None, 1)),
        stat("Fullest conntrack", "The highest fill of a connection tracking table.", f"max({CONNTRACK_FILL})", "percentunit", CONNTRACK, empty="not loaded"),
    ]


def hosts():
    states = f'sum {BY} (sockdiag_sockets{{{NETNS},protocol="tcp",state="%s"}})'
    return [
        row("Worst hosts"),
        table("Worst hosts first", "Peaks of the last minute. The TCP source share matters where bind-first is above 0; alone it is harmless. Click an instance for the host in depth.",
              [column(peak("tcp", "destination"), "TCP destination", "percentunit", PORTS),
               column(peak("tcp", "source"), "TCP source", "percentunit"),
               column(f"max {BY} (sockdiag_ephemeral_ports_bind_first{{{NETNS}}})", "bind-first"),
               column(peak("udp", "source"), "UDP source", "percentunit", PORTS),
               column(CLOSES, "closes over sustainable", "percentunit", (0.7, 1)),
               column(f"max {BY} ({CONNTRACK_FILL})", "conntrack", "percentunit", CONNTRACK),
               column(f"max {BY} ({QUEUES})", "accept queue", "percentunit", QUEUE),
               column(states % "established", "established"),
               column(states % "time_wait", "TIME_WAIT"),
               column(states % "close_wait", "CLOSE_WAIT")],
              "TCP destination", height=11, link=LINK),
        lines("TCP to the worst destination, by host", "Peak of each host's worst destination: the ten highest.",
              [query(f'topk(10, max {BY} (sockdiag_ephemeral_utilization_peak_ratio{{{NETNS},protocol="tcp",scope="destination"}}))', "{{instance}} {{netns}}")], "percentunit", PORTS),
        lines("Closes over the sustainable rate, by host", "Active closes toward each host's worst destination over what TIME_WAIT allows for ever: the ten highest.",
              [query(f"topk(10, {CLOSES})", "{{instance}} {{netns}}")], "percentunit", (0.7, 1), empty="no outbound connections"),
    ]


def destinations():
    return [
        row("Destinations"),
        table("Fullest destinations of all hosts", "One row per host, source address and destination: share of the available ports that is blocked.",
              [column(f"topk(25, max by (job, instance, netns, source, destination, port) ({BLOCKED}))", "blocked", "percentunit", PORTS)],
              "blocked", width=12, height=10, link=LINK, empty="no outbound connections from the range"),
        table("Destinations over all hosts", "The same destination seen from every host together: which service the fleet leans on.",
              [column(f"sum by (destination, port) (sockdiag_ephemeral_destination_ports_used{{{NETNS}}})", "sockets"),
               column(f"sum by (destination, port) (sockdiag_ephemeral_destination_closes_per_second{{{NETNS}}})", "closes", "cps"),
               column(f"count by (destination, port) (count by (job, instance, destination, port) (sockdiag_ephemeral_destination_ports_used{{{NETNS}}}))", "hosts")],
              "sockets", width=12, height=10, empty="no outbound connections from the range"),
    ]


def losses():
    dropped = f'sum {BY} (rate(sockdiag_conntrack_events_total{{{NETNS},event=~"insert_failed|drop|early_drop"}}[$__rate_interval]))'
    overflow = f'sum {BY} (rate(sockdiag_tcp_events_total{{{NETNS},event=~"listen_overflow|req_q_full_drop"}}[$__rate_interval]))'
    return [
        row("Connection tracking and accept queues"),
        lines("conntrack fill", "Entries over the limit: the ten fullest.", [query(f"topk(10, {CONNTRACK_FILL})", "{{instance}} {{netns}}")], "percentunit", CONNTRACK, width=8, empty="conntrack is not loaded"),
        lines("conntrack losses", "Packets or entries lost: insert_failed, drop and early_drop, the ten highest.", [query(f"topk(10, {dropped})", "{{instance}} {{netns}}")], "cps", (1, None), width=8, empty="no kernel here counts, or not for us"),
        lines("Lost at accept queues", "Connections dropped by full accept and request queues: the ten highest.", [query(f"topk(10, {overflow})", "{{instance}} {{netns}}")], "cps", (1, None), width=8),
    ]


def exporters():
    return [
        row("Exporters"),
        table("Versions", "Exporters by version and revision.", [column(f"count by (version, revision) (sockdiag_build_info{{{JOB}}})", "exporters")], "exporters", width=6),
        table("Down", "Targets whose last scrape failed.", [column(f"max by (job, instance) (up{{{JOB}}} == 0)", "up")], "instance", width=6, empty="none"),
        table("Stale", "Exporters that answer without a current snapshot: their hosts are not watched.", [column(f"max by (job, instance) ({STALE})", "age or 1")], "instance", width=6, link=HOST_LINK, empty="none"),
        table("Failing collectors", "Collectors that failed at the last poll; the exporter's log says why.", [column(f"max by (job, instance, netns, collector) (sockdiag_collector_up{{{NETNS}}} == 0)", "up")], "instance", width=6, link=LINK, empty="none"),
        lines("Cost in cores", "CPU time of the exporters: the ten dearest.", [query(f"topk(10, rate(process_cpu_seconds_total{{{JOB}}}[$__rate_interval]))", "{{instance}}")], "percentunit", width=8),
        lines("Memory", "Resident memory of the exporters: the ten largest.", [query(f"topk(10, process_resident_memory_bytes{{{JOB}}})", "{{instance}}")], "bytes", width=8),
        lines("Poll interval in force", "Longer than configured where poll.max_duty stretches it: the ten longest.", [query(f"topk(10, sockdiag_poll_interval_seconds{{{JOB}}})", "{{instance}}")], "s", (30, None), width=8),
    ]


def build():
    variables = [
        variable("job", 'label_values(up{job=~".*sockdiag.*"}, job)', "Scrape jobs named like sockdiag, also of exporters that are down.", many=True, listed=True),
        variable("instance", 'label_values(up{job=~"$job"}, instance)', "Hosts.", many=True),
        variable("netns", f"label_values(sockdiag_netns_info{{{JOB}}}, netns)", "Network namespaces; host is the exporter's own.", many=True),
    ]
    links = [{"type": "link", "title": "One host", "url": "/d/sockdiag-host", "icon": "dashboard",
              "keepTime": True, "includeVars": False, "targetBlank": False, "tooltip": "One host in depth"}]
    panels = [*overview(), *hosts(), *destinations(), *losses(), *exporters()]
    return dashboard("sockdiag-fleet", "Sockets: fleet", "All hosts with sockdiag-exporter, the worst first.", variables, panels, links)
