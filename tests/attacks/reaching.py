"""Attacks on the network: the host's own listeners, metadata, private and public addresses, DNS, Docker."""

from __future__ import annotations

from attacks.model import Attack, both

GROUP = "network"


def visit(name: str, words: str, seconds: float = 1.0) -> list[Attack]:
    """Connect to every listener of the host whose name begins so."""
    code = f"""
attempted()
targets = {{k: v for k, v in W['listeners'].items() if k.startswith({words!r})}}
print('READ', len(targets), 'targets')
for name, address in targets.items():
    family = socket.AF_UNIX if len(address) == 1 else socket.AF_INET6 if ':' in address[0] else socket.AF_INET
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        try:
            with socket.socket(family, kind) as s:
                s.settimeout({seconds})
                s.connect(address[0] if len(address) == 1 else tuple(address))
                s.send(b'GET / HTTP/1.0\\r\\n\\r\\n')
                if kind == socket.SOCK_STREAM:
                    loot(s.recv(4096), name)
                    won('reached ' + name)
        except OSError as problem:
            refused(name, problem)
"""
    return both(Attack(name, GROUP, code))


ATTACKS = [
    *visit("loopback", "v4"),
    *visit("loopback of IPv6", "v6"),
    *visit("an abstract unix socket of the host", "abstract"),
    *visit("a unix socket in a folder of the host", "path"),
    *visit("the host's other addresses", "host"),
    *visit("the metadata service", "metadata"),
    *visit("private addresses", "private"),
    *visit("public addresses", "public"),
    *both(
        Attack(
            "names and datagrams: DNS",
            GROUP,
            """
attempted()
question = b'\\x12\\x34\\x01\\x00\\x00\\x01\\x00\\x00\\x00\\x00\\x00\\x00\\x07example\\x03org\\x00\\x00\\x01\\x00\\x01'
for address in (('127.0.0.1', 53), ('8.8.8.8', 53), tuple(W['listeners'].get('udp', ['127.0.0.1', 53]))):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        try:
            s.sendto(question, address)
        except OSError as problem:
            refused(address, problem)
try:
    won(f"a name was resolved: {socket.getaddrinfo('huggingface.co', 443)[:1]}")
except OSError as problem:
    refused('getaddrinfo', problem)
""",
        )
    ),
    *both(
        Attack(
            "the socket of Docker and its like",
            GROUP,
            """
attempted()
for path in ('/var/run/docker.sock', '/run/docker.sock', '/run/containerd/containerd.sock', '/run/podman/podman.sock',
             '/run/user/0/podman/podman.sock', '/run/dbus/system_bus_socket', '/run/systemd/private', '/run/snapd.socket',
             '/proc/1/root' + '/run/docker.sock', *glob.glob('/run/**/*sock*', recursive=True), *glob.glob('/tmp/**/*.sock', recursive=True)):
    try:
        with socket.socket(socket.AF_UNIX) as s:
            s.connect(path)
            won('connected to ' + path)
    except OSError as problem:
        refused(path, problem)
""",
            control="it would talk to the daemon of who runs the tests",
        )
    ),
    *both(
        Attack(
            "raw, packet and hypervisor sockets",
            GROUP,
            """
attempted()
do('raw', socket.socket, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
do('raw v6', socket.socket, socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
do('packet', socket.socket, socket.AF_PACKET, socket.SOCK_RAW, 3)
# No network namespace bounds this family: it leads to the hypervisor.
do('vsock', socket.socket, 40, socket.SOCK_STREAM)
""",
            control="it opens sockets and harms nothing, but an ordinary machine may have none of them",
        )
    ),
    *both(
        Attack(
            "building a way out: interfaces, addresses, routes",
            GROUP,
            """
import fcntl
attempted()
names = [name for _, name in socket.if_nameindex()]
if set(names) - {'lo'}:
    others = [n for n in names if n != 'lo' and not n.startswith(('tunl', 'gre', 'gretap', 'erspan', 'ip_vti', 'ip6_vti', 'sit', 'ip6tnl', 'ip6gre'))]
    if others: won(f'interfaces {others}')
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    address = struct.pack('16sH2s4s8s', b'lo:9', socket.AF_INET, b'', socket.inet_aton('10.9.9.9'), b'')
    do('an address for lo', fcntl.ioctl, s, 0x8916, address)
    do('lo down and up', fcntl.ioctl, s, 0x8914, struct.pack('16sH14s', b'lo', 0x1 | 0x40, b''))
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as s:
    body = struct.pack('BBHiII', 0, 0, 0, 0, 0, 0) + struct.pack('HH6s2x', 10, 3, b'dummy9') + struct.pack('HHHH6s2x', 16, 18 | 0x8000, 10, 1, b'dummy\\0')
    s.send(struct.pack('IHHII', 16 + len(body), 16, 0x605, 1, 0) + body)
    code = struct.unpack_from('i', s.recv(4096), 16)[0]
    if code == 0: won('made an interface')
    else: print('REFUSED link', os.strerror(-code))
do('a tunnel', os.open, '/dev/net/tun', os.O_RDWR)
""",
            control="it would change the network of the machine that tests",
        )
    ),
    Attack(
        "a command of the host's tool goes to the network",
        GROUP,
        """
attempted()
target = W['listeners']['v4']
line = f"import socket; s = socket.create_connection({tuple(target)!r}, 2); print(s.recv(99))"
print(run_command([sys.executable, '-I', '-c', line]).output[-300:])
""",
    ),
]
