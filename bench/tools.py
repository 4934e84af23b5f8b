"""Every tool that can count sockets, and how it is measured from the outside.

Each function measures one tool in the current namespace and returns its Cost
for one dump of the socket table, or raises Unavailable.
"""

import base64
import contextlib
import dataclasses
import http.client
import os
import pathlib
import re
import shutil
import ssl
import statistics
import subprocess
import tempfile
import time

from farm import EXAMPLES, ROOT, cpu_seconds, memory_kib, running

PORT = 19161
# Two rounds of the exporter's four dumps, of which one asks for bound sockets.
POLLS = 8
EXPORTER = ROOT / "target/release/sockdiag-exporter"


class Unavailable(Exception):
    """Why there is no figure; it goes into the table in its place."""


@dataclasses.dataclass
class Cost:
    cpu_seconds: float
    wall_seconds: float | None = None
    rss_kib: int | None = None
    peak_kib: int | None = None


def yardstick(_sockets, *options):
    """All states but bound sockets, which no other tool asks for."""
    command = [EXAMPLES / "yardstick", "--repeat=3", *options]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    median = lambda key: statistics.median(map(float, re.findall(rf"{key}=(\S+)", output)))
    return Cost(median("cpu"), median("wall"))


def yardstick_with_bound(sockets):
    return yardstick(sockets, "--states=ffffffff")


def yardstick_by_family(sockets):
    return yardstick(sockets, "--request=20")


def exporter(sockets, binary=EXPORTER):
    """CPU time of the whole process per poll, whatever it does in one."""
    interval = poll_interval(sockets)
    with exporter_daemon(f"{interval}s", binary) as process:
        polls = lambda: metric("sockdiag_poll_duration_seconds_count")
        wall_before, polls_before = metric("sockdiag_poll_duration_seconds_sum"), polls()
        cpu = cpu_per_poll(process, polls, interval)
        wall = metric("sockdiag_poll_duration_seconds_sum") - wall_before
        return Cost(cpu, wall / (polls() - polls_before), *memory_kib(process.pid))


@contextlib.contextmanager
def exporter_daemon(interval, binary=EXPORTER):
    """With its cap on CPU time off, which would stretch the interval."""
    command = [find(binary), "serve", f"--listen=127.0.0.1:{PORT}", f"--poll-interval={interval}"]
    environment = {**os.environ, "SOCKDIAG_EXPORTER__POLL__MAX_DUTY": "1"}
    with running(command, env=environment) as process:
        wait_for_metrics(process, "sockdiag_snapshot_timestamp_seconds")
        yield process


def ss(_sockets):
    """With the start of the process, as every use of it has."""
    before = time.perf_counter()
    process = subprocess.Popen([find("ss"), "-tan"], stdout=subprocess.DEVNULL)
    _, _, usage = os.wait4(process.pid, 0)
    process.returncode = 0
    wall = time.perf_counter() - before
    return Cost(usage.ru_utime + usage.ru_stime, wall)


def node_exporter(_sockets):
    """The second scrape of a fresh process: the first one also grows its heap."""
    with node_exporter_daemon() as process:
        cpu, wall = cpu_seconds(process.pid), time.perf_counter()
        scrape()
        cpu, wall = cpu_seconds(process.pid) - cpu, time.perf_counter() - wall
        return Cost(cpu, wall, *memory_kib(process.pid))


@contextlib.contextmanager
def node_exporter_daemon():
    command = [find("prometheus-node-exporter"), f"--web.listen-address=127.0.0.1:{PORT}",
               "--web.disable-exporter-metrics", "--collector.disable-defaults", "--collector.tcpstat"]
    with running(command) as process:
        wait_for_metrics(process)
        yield process


def collectd(sockets):
    interval = poll_interval(sockets)
    with tempfile.TemporaryDirectory() as directory:
        config = pathlib.Path(directory, "collectd.conf")
        config.write_text(f"""
            BaseDir "{directory}"
            PIDFile "{directory}/pid"
            TypesDB "/usr/share/collectd/types.db"
            Interval {interval}
            ReadThreads 1
            LoadPlugin tcpconns
            LoadPlugin csv
            <Plugin tcpconns>
                ListeningPorts false
                AllPortsSummary true
            </Plugin>
            <Plugin csv>
                DataDir "{directory}"
            </Plugin>
        """)

        def reads():
            files = pathlib.Path(directory).rglob("tcp_connections-ESTABLISHED*")
            return sum(len(file.read_text().splitlines()) - 1 for file in files)

        with running([find("collectd"), "-f", "-C", config]) as process:
            return Cost(cpu_per_poll(process, reads, interval), None, *memory_kib(process.pid))


TOOLS = {
    "yardstick": yardstick,
    "yardstick, bound sockets too": yardstick_with_bound,
    "yardstick, by family": yardstick_by_family,
    "sockdiag-exporter": exporter,
    "ss -tan": ss,
    "node_exporter tcpstat": node_exporter,
    "collectd tcpconns": collectd,
}


def cpu_per_poll(process, count, interval):
    """From just after one poll to some time after the last of POLLS: whole polls, and no
    counting in between that would cost the process something.
    """
    seen, deadline = count(), time.monotonic() + 30 + 5 * interval
    while count() == seen:
        if process.poll() is not None or time.monotonic() > deadline:
            raise Unavailable("does not poll")
        time.sleep(interval / 50)
    seen, cpu = count(), cpu_seconds(process.pid)
    time.sleep((POLLS + 0.25) * interval)
    wait_for_idle(process, 5 * interval)
    cpu = cpu_seconds(process.pid) - cpu
    polls = count() - seen
    if not polls:
        raise Unavailable("stopped polling")
    return cpu / polls


def wait_for_idle(process, patience):
    """Until no poll is under way: the process has used next to no CPU time for a tenth of a second."""
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        before = cpu_seconds(process.pid)
        time.sleep(0.1)
        if cpu_seconds(process.pid) - before < 0.005:
            return
    raise Unavailable("polls without a pause")


def poll_interval(sockets):
    """Seconds; leaves every tool idle for some of it."""
    return max(1, sockets // 500_000)


def find(program):
    path = shutil.which(program)
    if not path:
        raise Unavailable("not installed")
    return path


class Access:
    """How the exporter is asked; tls_and_password() changes it."""
    tls = None
    headers = {}


@contextlib.contextmanager
def tls_and_password(tls, password):
    """Has the exporter started with a web configuration, and gives the options of examples/latency.rs for it."""
    options = []
    with tempfile.TemporaryDirectory() as directory:
        here = pathlib.Path(directory)
        text = ""
        if tls:
            subprocess.run([find("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=x",
                            "-addext", "basicConstraints=critical,CA:FALSE", "-addext", "subjectAltName=IP:127.0.0.1",
                            "-keyout", here / "key", "-out", here / "pem"], check=True, capture_output=True)
            text += "tls_server_config: {cert_file: pem, key_file: key}\n"
            Access.tls = ssl.create_default_context(cafile=here / "pem")
            options.append(f"--ca={here / 'pem'}")
        if password:
            # "one" at the cost that the toolkit's manual has.
            text += "basic_auth_users: {ann: $2y$10$abcdefghijklmnopqrstuupvaHa8G1MHW9KtW/R/6ZG5OfRmwIxde}\n"
            Access.headers = {"Authorization": "Basic " + base64.b64encode(b"ann:one").decode()}
            options.append("--user=ann:one")
        (here / "web.yml").write_text(text)
        os.environ["SOCKDIAG_EXPORTER__WEB__CONFIG_FILE"] = str(here / "web.yml")
        yield options


def scrape():
    if Access.tls:
        connection = http.client.HTTPSConnection("127.0.0.1", PORT, timeout=60, context=Access.tls)
    else:
        connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=60)
    try:
        connection.request("GET", "/metrics", headers=Access.headers)
        return connection.getresponse().read().decode()
    finally:
        connection.close()


def metric(name, **label):
    """The first sample of that name with the label, if one is given."""
    wanted = "".join(f'{key}="{value}"' for key, value in label.items())
    labels = rf"{{(?:[^}}]*,)?{wanted}[^}}]*}}" if label else r"(?:{[^}]*})?"
    found = re.search(rf"^{name}{labels} (\S+)", scrape(), re.MULTILINE)
    if not found:
        raise Unavailable(f"does not serve {name}")
    return float(found[1])


def wait_for_metrics(process, name=""):
    for _ in range(200):
        if process.poll() is not None:
            raise Unavailable(f"exits with {process.returncode}")
        try:
            if name in scrape():
                return
        except (ConnectionError, http.client.HTTPException):
            pass
        time.sleep(0.1)
    raise Unavailable(f"serves no {name or 'metrics'}")


def version(program):
    """Of the exporter with the commit that it was built from."""
    run = subprocess.run([find(program), "--version"], capture_output=True, text=True)
    return run.stdout.splitlines()[0]


def versions():
    """Of everything that is measured."""
    yield version(EXPORTER)
    for program, option in ("ss", "-V"), ("prometheus-node-exporter", "--version"), ("collectd", "-h"):
        if shutil.which(program):
            run = subprocess.run([program, option], capture_output=True, text=True)
            found = re.search(r"\d+\.\d+\.\d+", run.stdout + run.stderr)
            yield f"{program} {found[0] if found else '?'}"
