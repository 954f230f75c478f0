"""Patterns of personal data: e-mail addresses, phone numbers, IBANs and card numbers. Names are not detected."""

from __future__ import annotations

import re

#: Replacement of each kind.
EMAIL, PHONE, IBAN, CARD = "[e-mail]", "[phone]", "[iban]", "[card]"

_EMAIL = re.compile(r"[\w.+-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")
# ISO 13616: two letters, two check digits, groups of letters and digits; the checksum decides.
_IBAN = re.compile(r"\b[A-Z]{2}[0-9]{2}(?: ?[A-Z0-9]){11,30}\b")
# ISO/IEC 7812: 13 to 19 digits; the Luhn checksum decides.
_CARD = re.compile(r"(?<![\w.-])[0-9](?:[ -]?[0-9]){12,18}(?![\w-])")
# With a country code, or an area code in parentheses or with a leading 0: plain numbers are left alone.
_PHONE = re.compile(
    r"(?<![\w.-])(?:\+[0-9]{1,3}[ ./-]?(?:\([0-9]{1,5}\)[ ./-]?)?[0-9](?:[ ./-]?[0-9]){5,12}"
    r"|\([0-9]{2,5}\)[ ./-]?[0-9](?:[ .-]?[0-9]){4,9}|0[0-9]{1,4}[ /-][0-9](?:[ .-]?[0-9]){4,9})(?![\w-])"
)


def mask_personal(text: str) -> str:
    """Return the text with e-mail addresses, phone numbers, IBANs and card numbers masked."""
    if "@" in text:
        text = _EMAIL.sub(EMAIL, text)
    if not any(character.isdigit() for character in text):
        return text
    text = _IBAN.sub(lambda found: IBAN if _is_iban(found[0]) else found[0], text)
    text = _CARD.sub(lambda found: CARD if _is_card(found[0]) else found[0], text)
    return _PHONE.sub(PHONE, text)


def _is_iban(text: str) -> bool:
    plain = text.replace(" ", "")
    return int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1


def _is_card(text: str) -> bool:
    digits = [int(character) for character in text if character.isdigit()]
    doubled = [digit if place % 2 == 0 else sum(divmod(digit * 2, 10)) for place, digit in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0
