"""Phone numbers as people write them, with the number that was meant, and texts whose digits are no phone number."""

import random
import re
from collections.abc import Iterator

import phonenumbers
from phonenumbers import PhoneNumber, PhoneNumberFormat, PhoneNumberType


def rows(text: str) -> list[str]:
    """Each row of a table, or part between bars; ⏎ is a line break."""
    return [row.replace("⏎", "\n") for line in text.splitlines() for row in line.split("|")]


REGIONS = [*["BR"] * 12, "AR", "US", "AU", "GB", "DE", "IT", "MX", "PT", None]
ABROAD = rows("PT|US|AR|IT|DE|GB|ES|FR|PY|UY|CL|BO|PE|MX|AO|MZ|JP|CN|IL|CH|IE|NL|BE|CA|IN|LB|TR|CO|BR")
IDD = {"US": "011", "AU": "0011"}  # else 00
AREAS = [area for area in range(11, 100) if phonenumbers.is_valid_number(phonenumbers.parse(f"+55{area}988887777"))]
AREAS += [33, 51, 55, 66, 79] * 4  # they are country codes, too
# Area code, first and last part
BRAZILIAN = rows("""{a} {f}-{l}|({a}) {f}-{l}|{a}{f}{l}|0{a} {f}-{l}|(0{a}) {f}-{l}|0xx{a} {f}-{l}|(0XX{a}) {f}-{l}
0**{a} {f}-{l}|+55 (0{a}) {f}-{l}|+55 0{a} {f}-{l}|(55) {a} {f}-{l}|(55) ({a}) {f}-{l}|+55({a}){f}{l}|{a} {f} {l}
{a}.{f}.{l}|{a}-{f}-{l}|{a} {f}{l}|{a}/{f}-{l}|+55{a} {f}-{l}|{a} - {f}-{l}|{a}) {f}-{l}|[{a}] {f}-{l}
+ 55 {a} {f} {l}|0{a}{f}{l}|({a}){f}-{l}|{a} {f}.{l}|0 15 {a} {f}-{l}|55-{a}-{f}-{l}|{a} {f}-{l}""")
NINE_APART = rows("{a} 9 {f}-{l}|({a}) 9 {f}-{l}|+55 {a} 9 {f} {l}|{a} 9.{f}-{l}|+55 ({a}) 9-{f}-{l}")
AROUND = rows("""{}|{}|{}|{}|{}|Maria {}|João: {}|Dona Zefa {}|fone: {}|tel.: {}|WhatsApp do Zé: {}|contato - {}|cel {}
{} Maria|{} (João)|{} - Ana|{} whats|{} é o novo|oi, me chama no {} por favor|Ana (mãe) {}|📱 {} 👍|🇧🇷 {}|*{}*|**{}**
“{}”|'{}'|`{}`|«{}»|<{}>|• {}|```{}```|({})|1. {}|2) {}|3 - {}|12. {}|Maria⏎{}⏎|\u202a{}\u202c\u200b|{}.|{};|– {}""")
CHANGES = [(" ", "\u00a0"), ("-", "–"), ("-", "−"), ("-", "."), (" ", "\t"), *[("", "")] * 15]
FULL_WIDTH = {ord(char): ord(char) + 0xFEE0 for char in "0123456789()+-."}

TEXTS = rows("""Cliente João, CPF {cpf}|CPF: {cpf}|CPF {cpf} João da Silva|Nome: Ana⏎Nasc: {date}⏎CPF: {cpf}⏎RG: {rg}
Empresa Padaria Ltda CNPJ {cnpj}|CNPJ: {cnpj}|PIS {pis} do funcionário|PIS/PASEP: {pis}|RG {rg}|Nasceu em {date}
Vence {date} às {time}|entrega {date} {time}|[{time}, {date}] João: pago {money}|Total: {money}|Pago {money}|Pix {cpf}
valor {money} pago em {date}|total {money} + frete {money}|Pedido {order}|Pedido nº {order}|NF {order} de {date}
Protocolo {order} {time}|código {order}|Order {order} shipped {date}|Your order {order} total {money}|ID {order}
Invoice {order}, due {date}|Rastreio {tracking}|tracking code {tracking}|guía {tracking}|cartão {card}|CEP {cep}|{link}
veja {link}|{mail}|e-mail {mail}|correo: {mail} pedido {order}|chave pix: {mail}|boleto {boleto}|DNI {dni}|CUIT {cuit}
CPF⏎{cpf}|Maria, CPF, {cpf}|Pedido⏎{order}|RUT {rg}|factura {order} por {money} el {date}|SSN {ssn}|cuenta {account}""")
# What stands for a field; 0 is any digit
SHAPES = dict(
    row.split("=", 1)
    for row in """cpf=000.000.000-00|000.000.000-00|00000000000|000 000 000 00|000.000.000.00
cnpj=00.000.000/0001-00|00000000000100|00.000.000 0001-00|00000000/0001-00
pis=000.00000.00-0|00000000000|000 00000 00 0|000.00000.00/0
money=R$ 00,00|R$ 0.000,00|R$ 000.000,00|R$ 0.000.000,00|$000,000.00|US$ 0,000,000.00|€ 000.000
order=0000|#000000|00000000|0000000000|00000000000|000-0000000-0000000|0000-0000|00-00000000
tracking=BR000000000BR|1Z000AA0000000000|000000000000|0000000000000000000000|A0000000000
link=https://loja.com.br/p/00000000000|www.site.com/?id=0000000000000|https://t.me/c/0000000000/00000
mail=joao00000000000@gmail.com|55119000000000@empresa.com.br|+5511900000000@mail.com
boleto=00000.00000 00000.000000 00000.000000 0 00000000000000
card=0000 0000 0000 0000
cep=00000-000
rg=00.000.000-0|000000000
dni=00.000.000|00000000
cuit=20-00000000-0
ssn=000-00-0000
account=0000 0000 00 0000000000|0000-0 00000-0
date={d:02}/{m:02}/{y}|{y}-{m:02}-{d:02}|{d:02}.{m:02}.{y}|{d}/{m}
time={d:02}:{m:02}|{d:02}h{m:02}|{d:02}:{m:02}:{m:02}""".splitlines()
)


def digits(number: PhoneNumber) -> str:
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)[1:]


def forms(seed: int, count: int) -> Iterator[tuple[str | None, str, str]]:
    """A region; a number of its country, or abroad, as it is written there; and the digits that are meant."""
    chance = random.Random(seed)  # noqa: S311 - the same forms each time
    for _ in range(count):
        region = chance.choice(REGIONS)
        country = region if region and chance.random() < 0.72 else chance.choice(ABROAD)
        number = a_number(country, chance)
        written = chance.choice(international(number, region) + (national(number) if country == region else []))
        text = chance.choice(AROUND).format(written)
        if "phone" not in written and "wa.me" not in written:
            text = text.replace(*chance.choice(CHANGES))
        yield region, text.translate(FULL_WIDTH) if chance.random() < 0.05 else text, digits(number)


def documents(seed: int, count: int) -> Iterator[tuple[str | None, str]]:
    """Texts with documents, dates, times, sums, orders, links and addresses in three languages, and a region."""
    chance = random.Random(seed)  # noqa: S311 - the same texts each time

    def fill(field: re.Match[str]) -> str:
        shape = chance.choice(SHAPES[field[1]].split("|"))
        if "{" in shape:
            return shape.format(d=chance.randint(1, 23), m=chance.randint(1, 12), y=chance.randint(1950, 2030))
        return re.sub("0", lambda _: chance.choice("0123456789"), shape)

    for _ in range(count):
        yield chance.choice(REGIONS), re.sub(r"\{(\w+)\}", fill, chance.choice(TEXTS))


def a_number(country: str, chance: random.Random) -> PhoneNumber:
    if country == "BR":
        first = 9 * 10**8 if chance.random() < 0.75 else 0
        return phonenumbers.parse(f"+55{chance.choice(AREAS)}{first + chance.randrange(20000000, 40000000)}")
    kind = chance.choice([PhoneNumberType.MOBILE, PhoneNumberType.FIXED_LINE])
    example = phonenumbers.example_number_for_type(country, kind)
    assert example
    last = "".join(chance.choices("0123456789", k=3))
    number = phonenumbers.parse(f"+{digits(example)[:-3]}{last}")
    return number if phonenumbers.is_valid_number(number) and digits(number).endswith(last) else example


def international(number: PhoneNumber, region: str | None) -> list[str]:
    code, bare = number.country_code, digits(number)
    shown = phonenumbers.format_number(number, PhoneNumberFormat.INTERNATIONAL)
    at_home = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
    found = [shown, shown, shown.replace(" ", "-"), shown.replace(" ", "."), shown.replace(f"+{code}", f"(+{code})")]
    found += [f"+{bare}", f"wa.me/{bare}", f"https://wa.me/{bare}?text=Oi%201", f"tel:+{bare}"]
    found += [f"https://api.whatsapp.com/send?phone={bare}&text=Oi", f"{IDD.get(region or '', '00')} {shown[1:]}"]
    if at_home.startswith("0") and code != 39:  # Italy has its 0 in the number
        found += [f"+{code} {at_home}", f"+{code} (0){at_home[1:]}" if "(" not in at_home else shown]
    if region == "BR":
        found.append(f"00 21 {shown[1:]}")
    local = phonenumbers.parse(bare, region) if region else None
    if local is None or not phonenumbers.is_valid_number(local) or digits(local) == bare:  # else it is the region's
        found += [bare, shown[1:]]
    return found


def national(number: PhoneNumber) -> list[str]:
    shown = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
    found = [shown] * 4 + [re.sub("[^0-9]", "", shown)]
    if number.country_code == 55:
        area, first, last = digits(number)[2:4], digits(number)[4:-4], digits(number)[-4:]
        found += [form.format(a=area, f=first, l=last) for form in BRAZILIAN]
        found += [form.format(a=area, f=first[1:], l=last) for form in NINE_APART if len(first) == 5]
    return found
