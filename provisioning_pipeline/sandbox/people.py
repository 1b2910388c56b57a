"""Made-up companies and people: always the same, as varied as real ones."""

from collections.abc import Iterator
from dataclasses import dataclass

COMPANIES = (
    ("acme", "Acme Corporation"),
    ("brightwave", "Brightwave"),
    ("northgate", "Northgate Logistics"),
    ("zenith", "Zenith Café & Rösterei"),
    ("lumen-works", "Lumen Works"),
    ("oriel", "O'Riel & Sons"),
    ("kestrel", "Kestrel Insurance"),
    ("sakura-trading", "桜貿易 Sakura Trading"),
    ("harbour-light", "Harbour Light"),
    ("muehlbach", "Mühlbach Maschinenbau GmbH"),
    ("tidewater", "Tidewater Energy"),
    ("juniper-lane", "Juniper Lane"),
)
FIRST_WORDS = (
    "amber",
    "birch",
    "cedar",
    "cobalt",
    "coral",
    "copper",
    "crimson",
    "delta",
    "ember",
    "fern",
    "flint",
    "frost",
    "garnet",
    "golden",
    "granite",
    "hazel",
    "indigo",
    "iron",
    "ivory",
    "jade",
    "lunar",
    "maple",
    "marble",
    "meadow",
    "north",
    "ocean",
    "olive",
    "onyx",
    "opal",
    "pearl",
    "pine",
    "quartz",
    "river",
    "ruby",
    "sage",
    "silver",
    "solar",
    "stone",
    "summit",
    "velvet",
)
SECOND_WORDS = (
    "anchor",
    "bridge",
    "canyon",
    "castle",
    "cloud",
    "creek",
    "crest",
    "dale",
    "falls",
    "field",
    "forge",
    "garden",
    "gate",
    "grove",
    "harbor",
    "hill",
    "island",
    "junction",
    "lake",
    "ledge",
    "loft",
    "mesa",
    "mill",
    "orchard",
    "path",
    "peak",
    "pier",
    "plaza",
    "point",
    "port",
    "ridge",
    "rock",
    "shore",
    "spring",
    "square",
    "station",
    "stream",
    "tower",
    "trail",
    "valley",
    "works",
)

PEOPLE = (
    ("Olivia", "Bennett", "olivia.bennett"),
    ("Jürgen", "Müller-Lüdenscheidt", "juergen.mueller"),
    ("Siobhán", "O'Connor", "siobhan.o'connor"),
    ("美咲", "佐藤", "misaki.sato"),
    ("Liam", "McCarthy", "Liam.McCarthy"),
    ("Chloé", "Lefèvre", "chloe.lefevre"),
    ("Nguyễn", "Thị Minh Khai", "khai.nguyen"),
    ("Łukasz", "Żółkiewski", "lukasz+crm"),
    ("Aarav", "Krishnamurthy", "aarav"),
    ("王", "芳", "wang.fang"),
    ("Beyoncé", "", "beyonce"),
    ("José María", "de la Cruz", "jose-maria"),
    ("Ayşe", "Yıldız", "ayse.yildiz"),
    ("Дмитрий", "Соколов", "d.sokolov"),
    ("Amina", "Al-Khatib", "amina_alkhatib"),
    ("Søren", "Kjær", "soren.kjaer"),
)


@dataclass(frozen=True)
class Person:
    """A person at a tenant."""

    first_name: str
    last_name: str
    email: str


def companies() -> Iterator[tuple[str, str]]:
    """Slugs and names without end: the familiar ones first, then combined ones."""
    yield from COMPANIES
    round_number = 1
    while True:
        suffix = "" if round_number == 1 else f"-{round_number}"
        for second in SECOND_WORDS:
            for first in FIRST_WORDS:
                yield f"{first}-{second}{suffix}", f"{first} {second}{suffix.replace('-', ' ')}".title()
        round_number += 1


def staff(domain: str, count: int) -> list[Person]:
    """The first `count` people of the company with that e-mail domain; the first one is its admin."""
    found: list[Person] = []
    for index in range(count):
        first, last, local_part = PEOPLE[index % len(PEOPLE)]
        lap = index // len(PEOPLE)
        address = f"{local_part}{lap + 1 if lap else ''}@{domain}"
        found.append(Person(first, f"{last} {lap + 1}".strip() if lap else last, address))
    return found
