"""Countries by their ISO 3166 codes, of two letters or three, and by their English names."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

# ISO 3166-1: two letters and three letters of each country (as in pycountry 26.2.16).
_CODES = (
    "ADAND AEARE AFAFG AGATG AIAIA ALALB AMARM AOAGO AQATA ARARG ASASM ATAUT AUAUS AWABW AXALA "
    "AZAZE BABIH BBBRB BDBGD BEBEL BFBFA BGBGR BHBHR BIBDI BJBEN BLBLM BMBMU BNBRN BOBOL BQBES "
    "BRBRA BSBHS BTBTN BVBVT BWBWA BYBLR BZBLZ CACAN CCCCK CDCOD CFCAF CGCOG CHCHE CICIV CKCOK "
    "CLCHL CMCMR CNCHN COCOL CRCRI CUCUB CVCPV CWCUW CXCXR CYCYP CZCZE DEDEU DJDJI DKDNK DMDMA "
    "DODOM DZDZA ECECU EEEST EGEGY EHESH ERERI ESESP ETETH FIFIN FJFJI FKFLK FMFSM FOFRO FRFRA "
    "GAGAB GBGBR GDGRD GEGEO GFGUF GGGGY GHGHA GIGIB GLGRL GMGMB GNGIN GPGLP GQGNQ GRGRC GSSGS "
    "GTGTM GUGUM GWGNB GYGUY HKHKG HMHMD HNHND HRHRV HTHTI HUHUN IDIDN IEIRL ILISR IMIMN ININD "
    "IOIOT IQIRQ IRIRN ISISL ITITA JEJEY JMJAM JOJOR JPJPN KEKEN KGKGZ KHKHM KIKIR KMCOM KNKNA "
    "KPPRK KRKOR KWKWT KYCYM KZKAZ LALAO LBLBN LCLCA LILIE LKLKA LRLBR LSLSO LTLTU LULUX LVLVA "
    "LYLBY MAMAR MCMCO MDMDA MEMNE MFMAF MGMDG MHMHL MKMKD MLMLI MMMMR MNMNG MOMAC MPMNP MQMTQ "
    "MRMRT MSMSR MTMLT MUMUS MVMDV MWMWI MXMEX MYMYS MZMOZ NANAM NCNCL NENER NFNFK NGNGA NINIC "
    "NLNLD NONOR NPNPL NRNRU NUNIU NZNZL OMOMN PAPAN PEPER PFPYF PGPNG PHPHL PKPAK PLPOL PMSPM "
    "PNPCN PRPRI PSPSE PTPRT PWPLW PYPRY QAQAT REREU ROROU RSSRB RURUS RWRWA SASAU SBSLB SCSYC "
    "SDSDN SESWE SGSGP SHSHN SISVN SJSJM SKSVK SLSLE SMSMR SNSEN SOSOM SRSUR SSSSD STSTP SVSLV "
    "SXSXM SYSYR SZSWZ TCTCA TDTCD TFATF TGTGO THTHA TJTJK TKTKL TLTLS TMTKM TNTUN TOTON TRTUR "
    "TTTTO TVTUV TWTWN TZTZA UAUKR UGUGA UMUMI USUSA UYURY UZUZB VAVAT VCVCT VEVEN VGVGB VIVIR "
    "VNVNM VUVUT WFWLF WSWSM YEYEM YTMYT ZAZAF ZMZMB ZWZWE "
)
_OF_TWO_LETTERS = {pair[:2]: pair[2:] for pair in _CODES.split()} | {"UK": "GBR"}

_OTHER_NAMES = {
    "america": "USA",
    "britain": "GBR",
    "cote d'ivoire": "CIV",
    "czech republic": "CZE",
    "great britain": "GBR",
    "holland": "NLD",
    "ivory coast": "CIV",
    "korea": "KOR",
    "republic of korea": "KOR",
    "russian federation": "RUS",
    "the netherlands": "NLD",
    "turkey": "TUR",
    "türkiye": "TUR",
    "united states of america": "USA",
    "viet nam": "VNM",  # codespell:ignore nam
}
ALIKE, SUGGESTIONS = 0.7, 3


def country_code(text: str, names: Mapping[str, str]) -> str:
    """The three-letter code of a country of which `names` has the English name, in any case.

    `text` is such a name, or a code of two or three letters. Raises TypeError for what is no text,
    and KeyError for a country that is not there.

    >>> country_code("fr", {"FRA": "France"})
    'FRA'
    """
    if not isinstance(text, str):
        raise TypeError(f"a country is a name or a code such as 'FRA', got {text!r:.60}")
    letters = _plain(text).upper()
    by_name = _OTHER_NAMES | {_plain(name): code for code, name in names.items()}
    for code in (letters, _OF_TWO_LETTERS.get(letters), by_name.get(_plain(text))):
        if code is not None and code in names:
            return code
    raise KeyError(text)


def alike(text: str, names: Mapping[str, str]) -> str:
    """The countries that are written nearly so, as a question after a sentence; else nothing."""
    by_name = {_plain(name): code for code, name in names.items()}
    written = [*by_name, *(code.casefold() for code in names)]
    found = difflib.get_close_matches(_plain(text), written, SUGGESTIONS, ALIKE)
    codes = dict.fromkeys(by_name.get(each, each.upper()) for each in found)
    meant = " or ".join(f"{code} ({names[code]})" for code in codes)
    return f" (did you mean {meant}?)" if meant else ""


def _plain(text: str) -> str:
    return " ".join(text.replace(".", "").casefold().split())
