"""Known receivers, by their MX hosts."""

from importlib import resources

import pytest

from mta.delivery.providers import Providers

SHIPPED = Providers.parse(resources.files("mta.delivery").joinpath("providers.toml").read_text("utf-8"))


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("gmail-smtp-in.l.google.com", "google"),
        ("alt3.aspmx.l.google.com", "google"),
        ("aspmx2.googlemail.com", "google"),
        ("mta7.am0.yahoodns.net", "yahoo"),
        ("example-com.mail.protection.outlook.com", "microsoft"),
        ("outlook-com.olc.protection.outlook.com", "microsoft"),
        ("example-com.b-v1.mx.microsoft", "microsoft"),
        ("mx01.mail.icloud.com", "apple"),
        ("mx00.gmx.net", "gmx"),
        ("mx00.kundenserver.de", "ionos"),
        ("mxs.mail.ru", "mailru"),
        ("mx2h1.comcast.net", "comcast"),
        ("mxa-00000000.gslb.pphosted.com", "proofpoint"),
        ("eu-smtp-inbound-1.mimecast.com", "mimecast"),
        ("mx1.example.com", None),
        ("notgoogle.com", None),
        ("google.com.example.net", None),
        ("com", None),
    ],
)
def test_a_host_is_known_by_its_suffix(host: str, name: str | None) -> None:
    assert SHIPPED.of(host) == name


def test_only_hosts_of_one_provider_make_a_domain_its_own() -> None:
    assert SHIPPED.of_all(["aspmx.l.google.com", "aspmx2.googlemail.com"]) == "google"
    assert SHIPPED.of_all(["aspmx.l.google.com", "mx.example.net"]) is None
    assert SHIPPED.of_all([]) is None


@pytest.mark.parametrize("text", ["[a]", "[a]\nsuffixes='x'", "[a]\nsuffixes=['X']", "[a]\nsuffixes=['x','x']", "="])
def test_a_broken_file_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Providers.parse(text)
