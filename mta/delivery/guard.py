"""Which addresses found through DNS are never connected to: whoever owns a domain must not be able to aim us at hosts
of our own network (threat: server-side request forgery).

Pure: the caller looks addresses up, and connects to the very address that was checked here.
"""

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

Network = IPv4Network | IPv6Network

_V4: tuple[tuple[IPv4Network, str], ...] = tuple(
    (IPv4Network(network), what)
    for network, what in (
        ("0.0.0.0/8", "unspecified"),
        ("10.0.0.0/8", "private"),
        ("100.64.0.0/10", "carrier-grade NAT"),
        ("127.0.0.0/8", "loopback"),
        ("169.254.0.0/16", "link-local"),
        ("172.16.0.0/12", "private"),
        ("192.0.0.0/24", "reserved"),
        ("192.0.2.0/24", "documentation"),
        ("192.88.99.0/24", "reserved"),
        ("192.168.0.0/16", "private"),
        ("198.18.0.0/15", "benchmarking"),
        ("198.51.100.0/24", "documentation"),
        ("203.0.113.0/24", "documentation"),
        ("224.0.0.0/4", "multicast"),
        ("240.0.0.0/4", "reserved"),
    )
)
_V6: tuple[tuple[IPv6Network, str], ...] = tuple(
    (IPv6Network(network), what)
    for network, what in (
        ("::/128", "unspecified"),
        ("::1/128", "loopback"),
        ("2001::/23", "reserved"),
        ("2001:db8::/32", "documentation"),
        ("3fff::/20", "documentation"),
        ("fc00::/7", "private"),
        ("fe80::/10", "link-local"),
        ("fec0::/10", "private"),
        ("ff00::/8", "multicast"),
    )
)
_V6_GLOBAL = IPv6Network("2000::/3")
"""All that is handed out (RFC 4291 §2.4); what lies outside has no business in DNS."""

# where an IPv4 address hides inside an IPv6 one: the prefix, and how many bits stand to the right of the address
_EMBEDDED: tuple[tuple[IPv6Network, int], ...] = (
    (IPv6Network("::ffff:0:0/96"), 0),  # mapped, RFC 4291 §2.5.5.2
    (IPv6Network("64:ff9b::/96"), 0),  # NAT64, RFC 6052 §2.1
    (IPv6Network("2002::/16"), 80),  # 6to4, RFC 3056 §2
)


def refusal(address: str, allowed: tuple[Network, ...] = ()) -> str | None:
    """Return why an address is not connected to, in a word; None if it may be.

    An IPv6 address that holds an IPv4 address is judged by the latter. What is no address at all is refused.
    """
    try:
        ip = ip_address(address)
    except ValueError:
        return "not an address"
    if any(ip in network for network in allowed):
        return None
    if isinstance(ip, IPv4Address):
        return next((what for network, what in _V4 if ip in network), None)
    if ip.scope_id is not None:
        return "link-local"
    inner = _inner(ip)
    if inner is not None:
        return refusal(str(inner), allowed)
    named = next((what for network, what in _V6 if ip in network), None)
    return named or (None if ip in _V6_GLOBAL else "reserved")


def _inner(ip: IPv6Address) -> IPv4Address | None:
    for prefix, shift in _EMBEDDED:
        if ip in prefix:
            return IPv4Address(int(ip) >> shift & 0xFFFFFFFF)
    return None
