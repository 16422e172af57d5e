# SPDX-License-Identifier: MIT
"""Zone abbreviations and offsets as fixed minutes east of UTC."""

from __future__ import annotations

import re
from typing import Optional


ABBREVIATION = r"[A-Z](?:[A-Z]{2,4})?"
OFFSET = r"[+-][01]\d(?::?\d{2})?"

_ZONE = re.compile(rf"(?P<name>{ABBREVIATION})?(?P<offset>{OFFSET})?$")

# Hours east of UTC -> the abbreviations that logs use for it. An abbreviation stands for one
# fixed offset, whatever the season: CET in July is still +1. Where two places share one
# (AST, BST, IST, …), it is the offset that fail2ban gives it.
_HOURS = {
    -12: "Y",
    -11: "NUT SST X",
    -10: "CKT HAST HST TAHT TKT W",
    -9.5: "MART MIT",
    -9: "AKST GAMT GIT HADT HNY V",
    -8: "AKDT CIST HAY HNP PST PT U",
    -7: "HAP HNR MST PDT T",
    -6: "CST EAST GALT HAR HNC MDT S",
    -5: "CDT COT EASST ECT EST ET HAC HNE PET R",
    -4.5: "HLV VET",
    -4: "AST BOT CLT COST EDT FKT GYT HAE HNA PYT Q",
    -3.5: "HNT NST NT",
    -3: "ADT ART BRT CLST FKST GFT HAA P PMST PYST SRT UYT WGT",
    -2.5: "HAT NDT",
    -2: "BRST FNT O PMDT UYST WGST",
    -1: "AZOT CVT EGT N",
    0: "EGST GMT UTC WET WT Z",
    1: "A CET DFT WAT WEDT WEST",
    2: "B CAT CEDT CEST EET SAST WAST",
    3: "C EAT EEDT EEST IDT MSK",
    3.5: "IRST",
    4: "AMT AZT D GET GST KUYT MSD MUT RET SAMT SCT",
    4.5: "AFT IRDT",
    5: "AMST AQTT AZST E HMT MAWT MVT PKT TFT TJT TMT UZT YEKT",
    5.5: "SLT",
    5.75: "NPT",
    6: "ALMT BIOT BTT F IOT KGT NOVT OMST YEKST",
    6.5: "CCT MMT",
    7: "CXT DAVT G HOVT ICT KRAT NOVST OMSST THA WIB",
    8: "ACT AWST BDT BNT CAST H HKT IRKT KRAST MYT PHT SGT ULAT WITA WST",
    9: "AWDT I IRKST JST KST PWT TLT WDT WIT YAKT",
    9.5: "ACST",
    10: "AEST ChST K PGT VLAT YAKST YAPT",
    10.5: "ACDT LHST",
    11: "AEDT L LHDT MAGT NCT PONT SBT VLAST VUT",
    11.5: "NFT",
    12: "ANAST ANAT FJT GILT M MAGST MHT NZST PETST PETT TVT WFT",
    13: "FJST NZDT",
}
MINUTES = {name: int(hours * 60) for hours, names in _HOURS.items() for name in names.split()}


def minutes_east(zone: str) -> Optional[int]:
    """Return the offset of ``CEST``, ``+0200``, ``UTC-3`` or ``EST+05:30``; None if unknown.

    Upper case only: that tells a zone from a word.
    """
    match = _ZONE.match(zone)
    if match is None:
        return None
    name, offset = match["name"], match["offset"]
    minutes = MINUTES.get(name) if name else 0
    if minutes is None or not offset:
        return minutes
    digits = offset[1:].replace(":", "")
    shift = int(digits[:2]) * 60 + int(digits[2:] or 0)
    return minutes - shift if offset[0] == "-" else minutes + shift
