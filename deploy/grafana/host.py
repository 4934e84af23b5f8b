"""One host in depth: what a person looks at who was woken by an alert about it."""

from panels import ANY, CONNTRACK, PORTS, QUEUE, column, dashboard, lines, query, row, stat, table, variable

HOST = 'job="$job",instance="$instance"'
NETNS = f'{HOST},netns="$netns"'
DESTINATION = f'sockdiag_ephemeral_ports_available{{{NETNS},scope="destination"}}'
# On all labels but those of the many: a label of the scrape may be all that tells two hosts apart.
PER_KEY = "ignoring (protocol, source, destination, port) group_left ()"
SUSTAINABLE = f"sockdiag_ephemeral_sustainable_connects_per_second{{{NETNS}}}"
BLOCKED = (
    f"clamp_min(sockdiag_ephemeral_destination_ports_used{{{NETNS}}}"
    f" - sockdiag_ephemeral_destination_ports_reusable{{{NETNS}}}"
    f" - sockdiag_ephemeral_destination_ports_bind_first{{{NETNS}}}, 0)"
)


def peak(protocol, scope):
    return f'sockdiag_ephemeral_utilization_peak_ratio{{{NETNS},protocol="{protocol}",scope="{scope}"}}'


def events(pattern):
    return f'rate(sockdiag_tcp_events_total{{{NETNS},event=~"{pattern}"}}[$__rate_interval])'


def per_destination(metric):
    return f"max by (source, destination, port) (sockdiag_ephemeral_destination_{metric}{{{NETNS}}})"


def overview():
    return [
        row("Now"),
        stat("TCP to the worst destination", "Peak of the last minute: ports that plain connect() cannot have toward the destination that is worst off, over those available. At 1 connect() fails with EADDRNOTAVAIL.",
             peak("tcp", "destination"), "percentunit", PORTS),
        stat("TCP of the worst source", "Peak of the last minute: ports in use on the local address that is worst off. It matters where programs bind before they connect; high with many destinations alone is harmless.",
             peak("tcp", "source"), "percentunit"),
        stat("UDP of the worst source", "Peak of the last minute: UDP ports in use on the local address that is worst off, wildcard sockets included.",
             peak("udp", "source"), "percentunit", PORTS),
        stat("Closes over sustainable", "Active closes toward the worst destination over the rate that 60 s of TIME_WAIT allow for ever. Above 1, without reuse, exhaustion is a matter of time.",
             f"(max(sockdiag_ephemeral_destination_closes_per_second{{{NETNS}}}) or vector(0)) / scalar({SUSTAINABLE})", "percentunit", (0.7, 1)),
        stat("conntrack", "Entries of the connection tracking table over its limit. Absent where conntrack is not loaded.",
             f"sockdiag_conntrack_entries{{{NETNS}}} / sockdiag_conntrack_entries_limit{{{NETNS}}}", "percentunit", CONNTRACK, empty="not loaded"),
        stat("Snapshot age", "Time since the data was taken. It should stay within the interval in force.",
             f"time() - sockdiag_snapshot_timestamp_seconds{{{HOST}}}", "s", (30, 60)),
    ]


def ephemeral():
    ratio = f"sockdiag_ephemeral_utilization_ratio{{{NETNS}}}"
    peaks = f"sockdiag_ephemeral_utilization_peak_ratio{{{NETNS}}}"
    return [
        row("Ephemeral ports"),
        lines("Utilization by scope, with its peak", "The worst key of each pool. destination: what plain connect() draws from. source: what bind before connect, bind(0) and UDP draw from. Dashed: highest value of the last minute.",
              [query(ratio, "{{protocol}} {{scope}}"), query(peaks, "{{protocol}} {{scope}} peak")], "percentunit", PORTS, dashed=[".* peak$"]),
        lines("Active closes against the sustainable rate", "Closes per second toward each destination, from TIME_WAIT ages. Dashed: the rate that can go on for ever without reuse, ports available / 60 s.",
              [query(f"topk(10, sockdiag_ephemeral_destination_closes_per_second{{{NETNS}}})", "{{source}} to {{destination}} port {{port}}"),
               query(SUSTAINABLE, "sustainable")], "cps", dashed=["^sustainable$"]),
        table("Worst destinations", "Ports in use toward each destination from one source address. Blocked: used less those that the kernel would reuse now and those already off the capacity (bind-first), over those available.",
              [column(f"max by (source, destination, port) ({BLOCKED} / {PER_KEY} max without (scope) ({DESTINATION}))", "blocked", "percentunit", PORTS),
               column(per_destination("ports_used"), "used"),
               column(per_destination("ports_reusable"), "reusable"),
               column(per_destination("ports_bind_first"), "bind-first"),
               column(per_destination("closes_per_second"), "closes", "cps"),
               column(f"max by (source, destination, port) (sockdiag_ephemeral_destination_closes_per_second{{{NETNS}}} / {PER_KEY} {SUSTAINABLE})", "closes over sustainable", "percentunit", (0.7, 1))],
              "blocked", width=14, empty="no outbound connections from the range"),
        table("What holds the destinations", "Outbound sockets by peer and state. time_wait: this side closes first. established: pools that never shrink. close_wait: the program does not close. syn_sent: the peer does not answer.",
              [column(f'topk(20, sum by (peer, port, state) (sockdiag_peer_sockets{{{NETNS},direction="outbound",peer!="other"}})) > 0', "sockets")],
              "sockets", width=10, empty="no outbound connections"),
        table("Local addresses", "Distinct ports in use per local address, wildcard sockets included, over those available to the source scope. * is any address: the pool of bind(0) on the wildcard.",
              [column(f'max by (protocol, source) (sockdiag_ephemeral_source_ports_used{{{NETNS}}})', "used"),
               column(f'max by (protocol, source) (sockdiag_ephemeral_source_ports_used{{{NETNS}}} / ignoring (protocol, source) group_left () max without (scope) (sockdiag_ephemeral_ports_available{{{NETNS},scope="source"}}))', "share", "percentunit")],
              "share", width=10),
        lines("What the range is spent on", "available: capacity by scope. held: ports of listeners and bound sockets. bind-first: ports that bind() took from plain connect(), an estimate. reserved: ip_local_reserved_ports inside the range.",
              [query(f"sockdiag_ephemeral_ports_available{{{NETNS}}}", "available, {{scope}}"),
               query(f"sockdiag_ephemeral_ports_held{{{NETNS}}}", "held"),
               query(f"sockdiag_ephemeral_ports_bind_first{{{NETNS}}}", "bind-first"),
               query(f"sockdiag_ephemeral_ports_bind_first_ambiguous{{{NETNS}}}", "bind-first, uncertain"),
               query(f"sockdiag_ephemeral_ports_reserved{{{NETNS}}}", "reserved")], "short", width=14, height=9),
    ]


def owners():
    def named(metric):
        others = "netns, source, destination, port, state, unit, container_id, pod_uid"
        return f"{metric}{{{NETNS}}} * ignoring ({others}) group_left (unit, container_id, pod_uid) sockdiag_cgroup_info{{{HOST}}}"

    empty = "owners are switched off, or the kernel tells none"
    holders = named("sockdiag_ephemeral_destination_owner_sockets")
    largest = named("sockdiag_cgroup_ephemeral_ports_used")
    return [
        row("Who holds the ports"),
        table("Holders of the destinations", "The cgroup that holds most of the ports toward each destination. TIME_WAIT has no owner: it is counted to the only cgroup that has had live sockets toward the destination for 60 s, and to nobody where there were two or none.",
              [column(f"max by (source, destination, port, unit, pod_uid, container_id, cgroup) ({holders})", "sockets")],
              "sockets", width=14, empty="no holder is known"),
        table("Ports in the range by owner", "Outbound TCP sockets with a local port in the range, of the cgroups with most sockets.",
              [column(f"max by (unit, pod_uid, container_id, cgroup) ({largest})", "ports")],
              "ports", width=10, empty=empty),
        lines("Ports in the range by cgroup", "Outbound TCP sockets with a local port in the range. none: the kernel tells no owner (TIME_WAIT). hidden: the host's cgroup tree is not mounted where the exporter runs.",
              [query(f"sockdiag_cgroup_ephemeral_ports_used{{{NETNS}}}", "{{cgroup}}")], "short", empty=empty),
        lines("Sockets by cgroup and state", "TCP sockets of the largest cgroups.",
              [query(f"topk(20, sockdiag_cgroup_sockets{{{NETNS}}})", "{{cgroup}} {{state}}")], "short", empty=empty),
    ]


def sockets():
    def by_direction(direction):
        return [query(f'sockdiag_tcp_direction_sockets{{{NETNS},direction="{direction}"}}', "{{state}}")]

    peers = f'topk(10, sum by (direction, peer, port) (sockdiag_peer_sockets{{{NETNS},peer!="other"}}))'
    return [
        row("Sockets"),
        lines("TCP states", "All TCP sockets of both families by state; close is bound but neither listening nor connected.",
              [query(f'sum by (state) (sockdiag_sockets{{{NETNS},protocol="tcp"}})', "{{state}}")], "short", width=8, stack=True),
        lines("Inbound TCP", "Connections to this host's listeners. Here TIME_WAIT costs memory and tcp_max_tw_buckets, never ephemeral ports.",
              by_direction("inbound"), "short", width=8, stack=True),
        lines("Outbound TCP", "Connections that this host opened. Here TIME_WAIT costs ephemeral ports.",
              by_direction("outbound"), "short", width=8, stack=True),
        lines("Largest peers", "TCP sockets by remote address; port is the service's: the remote one of outbound, the local one of inbound.",
              [query(peers, "{{direction}} {{peer}} port {{port}}")], "short", empty="no connections"),
        lines("Local ports", "TCP and UDP sockets on local ports that have a listener or are configured to be shown; the rest is other.",
              [query(f"topk(10, sum by (protocol, port) (sockdiag_local_port_sockets{{{NETNS}}}))", "{{protocol}} {{port}}")], "short", empty="no listeners"),
        lines("UDP", "UDP sockets by state, both families.",
              [query(f'sum by (state) (sockdiag_sockets{{{NETNS},protocol="udp"}})', "{{state}}")], "short", width=8, stack=True),
        lines("Distinct peers", "Distinct (peer, port) pairs. folded: how many of them are summed in other.",
              [query(f"sockdiag_peers{{{NETNS}}}", "{{direction}}"), query(f"sockdiag_peers_folded{{{NETNS}}}", "{{direction}}, folded")], "short", width=8, dashed=["folded$"]),
        lines("Connections opened", "Rates from the kernel's SNMP counters. attempt_fail: refused, reset or timed out while connecting.",
              [query(events("active_open|passive_open|attempt_fail"), "{{event}}")], "cps", width=8),
    ]


def listeners():
    waiting, limit = (f"sockdiag_listener_backlog_{part}{{{NETNS}}}" for part in ("connections", "limit_connections"))
    return [
        row("Listeners"),
        lines("Accept queues, the fullest", "Connections waiting for accept() over the limit of the queue. Above the limit new ones are dropped and clients hang.",
              [query(f"topk(10, {waiting} / ({limit} > 0))", "{{address}} port {{port}}")], "percentunit", QUEUE, empty="no listeners"),
        lines("Lost at the accept queue", "Connections that a full queue cost: overflow and drop of the accept queue, and full queues of requests.",
              [query(events("listen_overflow|listen_drop|req_q_full_drop|req_q_full_cookie"), "{{event}}")], "cps", ANY),
    ]


def conntrack():
    def counted(pattern):
        return [query(f'rate(sockdiag_conntrack_events_total{{{NETNS},event=~"{pattern}"}}[$__rate_interval])', "{{event}}")]

    return [
        row("Connection tracking"),
        lines("Fill", "Entries of the table and its limit; at the limit new connections are dropped.",
              [query(f"sockdiag_conntrack_entries{{{NETNS}}}", "entries"), query(f"sockdiag_conntrack_entries_limit{{{NETNS}}}", "limit"),
               query(f"sockdiag_conntrack_buckets{{{NETNS}}}", "buckets")], "short", width=8, dashed=["^(limit|buckets)$"], empty="conntrack is not loaded"),
        lines("Losses", "drop and early_drop: the table was full. insert_failed: an entry could not be added, often two packets that raced.",
              counted("insert_failed|drop|early_drop|chain_toolong"), "cps", ANY, width=8, empty="this kernel does not count, or not for us"),
        lines("Other events", "What else the kernel counts; invalid are packets that fit no connection.",
              counted("found|invalid|insert|error|search_restart|clash_resolve"), "cps", width=8, empty="this kernel does not count, or not for us"),
    ]


def namespaces():
    info = f"sockdiag_netns_info{{{HOST}}}"
    bound = f"max by (netns) (sockdiag_ephemeral_utilization_bound_ratio{{{HOST}}})"
    pods = 'label_join(max by (uid, namespace, pod) (kube_pod_info), "pod_uid", "", "uid")'
    return [
        row("Network namespaces"),
        table("The fullest namespaces", "What the use of the ports cannot exceed by now, and what it was at the last dump; quiet namespaces are not dumped where that would cost too much.",
              [column(f"topk(20, {bound} * on (netns) group_left (kind, container_id, pod_uid) max by (netns, kind, container_id, pod_uid) ({info}))", "ports at most", "percentunit", PORTS)],
              "ports at most", width=14),
        table("Pods", "The same by the names of kube-state-metrics, joined by the pod's uid.",
              [column(f'topk(20, max by (netns, pod_uid) ({bound} * on (netns) group_left (pod_uid) max by (netns, pod_uid) (sockdiag_netns_info{{{HOST},pod_uid!=""}})) * on (pod_uid) group_left (namespace, pod) {pods})', "ports at most", "percentunit", PORTS)],
              "ports at most", width=10, empty="no pods, or no kube-state-metrics"),
        lines("Conntrack by namespace", "Entries over the limit, the fullest.",
              [query(f"topk(10, sockdiag_conntrack_entries{{{HOST}}} / sockdiag_conntrack_entries_limit{{{HOST}}})", "{{netns}}")], "percentunit", CONNTRACK, empty="conntrack is not loaded"),
        lines("Observed and left out", "Namespaces that are observed, that are not and why, and that show their bound alone.",
              [query(f"sockdiag_namespaces{{{HOST}}}", "observed"), query(f"sockdiag_namespaces_skipped{{{HOST}}}", "skipped: {{reason}}"),
               query(f"sockdiag_namespaces_folded{{{HOST}}}", "bound alone")], "short"),
    ]


def limits():
    time_wait = f'sum by (job, instance, netns) (sockdiag_sockets{{{NETNS},protocol="tcp",state="time_wait"}})'
    return [
        row("Limits"),
        lines("TIME_WAIT against its limit", "Sockets in TIME_WAIT and tcp_max_tw_buckets, above which the kernel ends them early.",
              [query(time_wait, "time_wait"), query(f"sockdiag_tcp_time_wait_limit{{{NETNS}}}", "limit")], "short", width=8, dashed=["^limit$"]),
        lines("Orphans against their limit", "Sockets whose program is gone, of the whole machine, and tcp_max_orphans, above which the kernel resets instead of closing.",
              [query(f"sockdiag_tcp_orphans{{{HOST}}}", "orphans"), query(f"sockdiag_tcp_orphans_limit{{{HOST}}}", "limit")], "short", width=8, dashed=["^limit$"]),
        lines("TCP memory against its limits", "Memory of TCP buffers on the whole machine, and the thresholds of tcp_mem.",
              [query(f"sockdiag_tcp_memory_bytes{{{HOST}}}", "in use"), query(f"sockdiag_tcp_memory_limit_bytes{{{HOST}}}", "{{threshold}}")], "bytes", width=8, dashed=["^(low|pressure|high)$"]),
        lines("Limits hit", "time_wait_overflow: TIME_WAIT ended early. abort_on_memory: connections reset for want of memory.",
              [query(events("time_wait_overflow|abort_on_memory"), "{{event}}")], "cps", ANY, width=12, height=6),
        stat("Range, first port", "ip_local_port_range, lower end.", f"sockdiag_ephemeral_port_range_first{{{NETNS}}}", "none"),
        stat("Range, last port", "ip_local_port_range, upper end.", f"sockdiag_ephemeral_port_range_last{{{NETNS}}}", "none"),
        stat("tcp_tw_reuse", "Whether plain connect() may take ports in TIME_WAIT again: 0 never, 1 always, 2 where an end is loopback.",
             f"sockdiag_tcp_tw_reuse{{{NETNS}}}", "none"),
    ]


def exporter():
    polls = "sockdiag_poll_duration_seconds"
    return [
        row("The exporter itself"),
        lines("Cost in cores", "CPU time of the exporter, most of it in the kernel during dumps. poll.max_duty stretches the interval to keep it down.",
              [query(f"rate(process_cpu_seconds_total{{{HOST}}}[$__rate_interval])", "cpu")], "percentunit", width=8, height=7),
        lines("Memory", "Resident memory; the table of keys is bounded by limits.tracked_keys.",
              [query(f"process_resident_memory_bytes{{{HOST}}}", "resident")], "bytes", width=8, height=7),
        lines("Polls and dumps", "Mean time of a poll, last dump by protocol. Dashed: interval in force.",
              [query(f"rate({polls}_sum{{{HOST}}}[$__rate_interval]) / (rate({polls}_count{{{HOST}}}[$__rate_interval]) > 0)", "poll, mean"),
               query(f"sockdiag_dump_duration_seconds{{{NETNS}}}", "dump {{protocol}}"),
               query(f"sockdiag_poll_interval_seconds{{{HOST}}}", "interval")], "s", width=8, height=7, dashed=["^interval$"]),
        lines("Collectors", "1 worked at the last poll, 0 failed; no line where the kernel does not offer it.",
              [query(f"sockdiag_collector_up{{{NETNS}}}", "{{collector}}")], "none", width=8, height=7, defaults={"max": 1}),
        lines("Collector errors", "Errors by collector and reason; the log says more.",
              [query(f"rate(sockdiag_collector_errors_total{{{HOST}}}[$__rate_interval])", "{{collector}}: {{reason}}")], "cps", ANY, width=8, height=7, empty="none since its start"),
        lines("Not shown one by one", "Keys beyond the configured limits, summed in other or not exported. untracked: sockets beyond limits.tracked_keys, which make other figures too low.",
              [query(f"sockdiag_keys_untracked{{{NETNS}}}", "untracked sockets"),
               query(f"sockdiag_ephemeral_destinations_folded{{{NETNS}}}", "destinations"),
               query(f"sockdiag_ephemeral_sources_folded{{{NETNS}}}", "sources {{protocol}}"),
               query(f"sockdiag_cgroups_folded{{{NETNS}}}", "cgroups"),
               query(f"sockdiag_listeners_folded{{{NETNS}}}", "listeners")], "short", width=8, height=7),
        lines("HTTP requests", "Answers by route and status; several Prometheus servers and people are fine, scrapes never touch the kernel.",
              [query(f"rate(sockdiag_http_requests_total{{{HOST}}}[$__rate_interval])", "{{path}} {{code}}")], "reqps", width=8, height=7),
        lines("Open files", "File descriptors of the exporter. Dashed: its limit.",
              [query(f"process_open_fds{{{HOST}}}", "open"), query(f"process_max_fds{{{HOST}}}", "limit")], "short", width=8, height=7, dashed=["^limit$"]),
        table("Version", "What runs on this host.", [column(f"max by (version, revision) (sockdiag_build_info{{{HOST}}})", "running")], "running", width=8, height=7),
    ]


def build():
    variables = [
        variable("job", "label_values(sockdiag_build_info, job)", "Scrape job of the exporters."),
        variable("instance", 'label_values(sockdiag_build_info{job="$job"}, instance)', "The host."),
        variable("netns", f"label_values(sockdiag_netns_info{{{HOST}}}, netns)",
                 "Network namespace; host is the exporter's own.", first="host"),
    ]
    links = [{"type": "link", "title": "Fleet", "url": "/d/sockdiag-fleet", "icon": "dashboard",
              "keepTime": True, "includeVars": False, "targetBlank": False, "tooltip": "All hosts, the worst first"}]
    panels = [*overview(), *ephemeral(), *owners(), *sockets(), *listeners(), *conntrack(), *namespaces(), *limits(), *exporter()]
    return dashboard("sockdiag-host", "Sockets: one host", "Ephemeral ports, sockets, listeners, conntrack and limits of one host, from sockdiag-exporter.",
                     variables, panels, links)
