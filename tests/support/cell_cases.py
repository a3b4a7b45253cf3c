"""Cells that every reader must take for the same: the text, and the number or code that it stands for.

A feature of each kind, read in each way, and texts with what they mean: a number (days of a date, the code of a
category), ``None`` for a missing value, ``REFUSED`` for a text that is none of the feature's.
"""

from __future__ import annotations

from eigenserve.model.rows.features import Feature, FeatureSpace
from eigenserve.model.rows.readings import Reading

REFUSED = "refused"
UNKNOWN = 3.0
_COLOURS = ("NA", "red", "3")


def _number(name: str, **reading: object) -> Feature:
    return Feature(name, "numeric", typical=0.0, missing=True, reading=Reading(**reading))  # type: ignore[arg-type]


def _date(name: str, date_format: str = "", **reading: object) -> Feature:
    kept = Reading(date_format=date_format, **reading)  # type: ignore[arg-type]
    return Feature(name, "datetime", typical=0.0, missing=True, reading=kept)


PLAIN = _number("plain", missing=("n.a.", "-"))
COMMA = _number("comma", decimal=",")
EURO = _number("euro", decimal=",", thousands=".", affixes=("€",))
DOLLAR = _number("dollar", thousands=",", affixes=("$",))
UNIT = _number("unit", affixes=("kmpl",))
PERCENT = _number("percent", affixes=("%",))
MONEY = _number("money", affixes=("€",), magnitudes=True)
BOUNDED = _number("bounded", affixes=("<", "approx", "ca", "~"))
EITHER = _number("either", affixes=("$", "usd"))
ORDINAL = _number("ordinal", affixes=("th",))
BAND = _number("band", affixes=("$", "+", "<", "year"), magnitudes=True, ranges=True)
WORDS = _number("words", affixes=("$", "people", "€"), magnitudes=True, ranges=True)
EURO_WORDS = _number("euro_words", decimal=",", affixes=("€",), magnitudes=True)
YEN = _number("yen", affixes=("円",), magnitudes=True)
CENTS = _number("cents", affixes=("$",), magnitudes=True)
CELSIUS = _number("celsius", affixes=("°c",))
RENT = _number("rent", decimal=",", affixes=("€/m²",))
WAGE = _number("wage", affixes=("$", "/hr", "$/hr"))
ALCOHOL = _number("alcohol", affixes=("% vol",))
RUPEES = _number("rupees", thousands=",", affixes=("/-", "rs"))
FRANC = _number("franc", thousands="'", affixes=("chf", "fr"))
KRONA = _number("krona", decimal=",", thousands=".", affixes=("kr", "€"), magnitudes=True)
DIRHAM = _number("dirham", affixes=("aed",))
RAND = _number("rand", thousands=",", affixes=("r",))
SOL = _number("sol", affixes=("s/",))
ABROAD = _number("abroad", affixes=("us$", "usd$", "₱", "s$"))
OPEN = _number("open", affixes=("-",))
OPEN_BAND = _number("open_band", affixes=("-",), ranges=True)
SPACED = _number("spaced", thousands=" ")
CLOCK = _number("clock", clock=True)
ISO = _date("iso")
DAY_FIRST = _date("day_first", "%d/%m/%Y")
MONTH_NAME = _date("month_name", "%b %d, %Y")
DAY_NAME = _date("day_name", "%d %b %Y")
QUARTER = _date("quarter", "Q%q %Y")
MONTH = _date("month", "%Y-%m")
BORN = _date("born", "%d-%b-%y", last_year=2036)
DAY_DIGITS = _date("day_digits", "%d%m%Y")
YEAR_DIGITS = _date("year_digits", "%y%m%d")
BORN_DIGITS = _date("born_digits", "%d/%m/%y", last_year=1970)
ENDS = _date("ends", "%Y%m%d", missing=("0",))
DIGITS = _date("digits", "%Y%m%d")
YEAR_MONTH = _date("year_month", "%Y%m")
STAMP = _date("stamp", "%Y%m%d%H%M%S")
FILTRATION = _number("filtration", affixes=("ml/min/1.73m2",))
DASHES = _date("dashes", "%Y-%m-%d")
LONG = _date("long", "%B %d, %Y")
MAIL = _date("mail", "%a, %d %b %Y")
SCRIPT = _date("script", "%a %b %d %Y")
ORACLE = _date("oracle", "%d-%b-%y")
SAS = _date("sas", "%d%b%Y")
PHOTO = _date("photo", "%Y:%m:%d")
SIGNS = _date("signs", "%Y年%m月%d日")
FLAG = Feature("flag", "boolean", typical=True, missing=True)
COLOUR = Feature("colour", "categorical", "red", categories=_COLOURS, missing=True)
PLACE = Feature("place", "categorical", "Bath", categories=("Bath", "bath ", "York"), missing=True)
GENE = Feature("gene", "categorical", "AA", categories=("AA", "Aa", "aa"), missing=True)
SIZE = Feature("size", "categorical", "1.5", categories=("1.5", "1.50", "3"), missing=True)
DAY = Feature("day", "categorical", "x", categories=("2022-01-01", "2022-01-02 10:00:00", "x"), missing=True)
BLANKS = Feature(
    "blanks", "categorical", "x", categories=("None", "x", "y"), missing=True, reading=Reading(markers=False)
)

#: As texts look: each of the first two may be written in two ways.
TOWN = Feature(
    "town",
    "categorical",
    "Café",
    categories=("Café", "New York", "Oslo"),
    missing=True,
    reading=Reading(missing=("k. A.",)),
)

CASES: list[tuple[Feature, str, float | str | None]] = [
    (PLAIN, "1.5", 1.5),
    (PLAIN, "\u200e1.5\u200b", 1.5),
    (PLAIN, "7½", 7.5),
    (PLAIN, "-7 ¼", -7.25),
    (PLAIN, "(⅛)", -0.125),
    (PLAIN, "⅔", 2 / 3),
    (PLAIN, "1.5½", REFUSED),
    (PLAIN, "7½5", REFUSED),
    (PLAIN, "5²", REFUSED),
    (PLAIN, "5②", REFUSED),
    (EURO, "7½ €", 7.5),
    (MONEY, "€2½M", 2.5e6),
    (BAND, "7½-8½ years", 8.0),
    (PERCENT, "½ %", 0.5),
    (PERCENT, "½", REFUSED),
    (PLAIN, "\ufeff\u00a01.5", 1.5),
    (PLAIN, "\u200b", None),
    (PLAIN, "N\u2060A", None),
    (ISO, "\u200e1970-01-02", 1.0),
    (FLAG, "true\u200b", 1.0),
    (TOWN, "Cafe\u0301", 0.0),
    (TOWN, "CAFE\u0301", 0.0),
    (TOWN, "New\u00a0York", 1.0),
    (TOWN, "new\u3000york\u200d", 1.0),
    (TOWN, "\u200fOslo\u200b", 2.0),
    (TOWN, "k.\u00a0A.", None),
    (TOWN, "Cafe", UNKNOWN),
    (PLAIN, " 1.5 ", 1.5),
    (PLAIN, "+1.5", 1.5),
    (PLAIN, "-.5", -0.5),
    (PLAIN, "5.", 5.0),
    (PLAIN, "1e3", 1000.0),
    (PLAIN, "1E-3", 0.001),
    (PLAIN, "0.1234567890123456789", 0.1234567890123456789),
    (PLAIN, "9007199254740993", 9007199254740992.0),
    (PLAIN, "\u22121.5", -1.5),
    (PLAIN, "(12)", -12.0),
    (PLAIN, "12-", -12.0),
    (PLAIN, "", None),
    (PLAIN, "  ", None),
    (PLAIN, "NA", None),
    (PLAIN, "?", None),
    (PLAIN, "null", None),
    (PLAIN, "None", None),
    (PLAIN, "NaN", None),
    (PLAIN, "n.a.", None),
    (PLAIN, "-", None),
    (PLAIN, "n.a", REFUSED),
    (PLAIN, "1,5", REFUSED),
    (PLAIN, "1_000", REFUSED),
    (PLAIN, "0x1A", REFUSED),
    (PLAIN, "inf", REFUSED),
    (PLAIN, "-Infinity", REFUSED),
    (PLAIN, "1e999", REFUSED),
    (PLAIN, "$5", REFUSED),
    (PLAIN, "5 kg", REFUSED),
    (PLAIN, "12:30", REFUSED),
    (PLAIN, "true", REFUSED),
    (COMMA, "53,46", 53.46),
    (COMMA, "-1,5e2", -150.0),
    (COMMA, "53", 53.0),
    (COMMA, "53.46", REFUSED),
    (EURO, "1.234,56 €", 1234.56),
    (EURO, "€1.234.567", 1234567.0),
    (EURO, "12,5", 12.5),
    (EURO, "1.23", REFUSED),
    (DOLLAR, "$12,139.53", 12139.53),
    (DOLLAR, "-$5", -5.0),
    (DOLLAR, "($1,200)", -1200.0),
    (DOLLAR, "1,20,000", 120000.0),
    (DOLLAR, "53,46", REFUSED),
    (UNIT, "12.5 kmpl", 12.5),
    (UNIT, "12.5KMPL", 12.5),
    (UNIT, "12.5", 12.5),
    (UNIT, "12.5 kg", REFUSED),
    (PERCENT, "12.5%", 12.5),
    (PERCENT, "12.5 %", 12.5),
    (PERCENT, "0", 0.0),
    (PERCENT, "0.5", REFUSED),
    (MONEY, "€110.5M", 110_500_000.0),
    (MONEY, "€565K", 565_000.0),
    (MONEY, "€0", 0.0),
    (WORDS, "$1.5 million", 1.5e6),
    (WORDS, "$ 2 Billion", 2e9),
    (WORDS, "2.5 Crores", 2.5e7),
    (WORDS, "3 lakh", 3e5),
    (WORDS, "7 thousand people", 7000.0),
    (WORDS, "1.2 million people", 1.2e6),
    (WORDS, "900000", 900000.0),
    (WORDS, "$1-2 million", 1.5e6),
    (WORDS, "€1.5M", 1.5e6),
    (WORDS, "1.5M€", 1.5e6),
    (WORDS, "5 constructor", REFUSED),
    (WORDS, "1 million kg", REFUSED),
    (EURO_WORDS, "1,5 Mio. €", 1.5e6),
    (EURO_WORDS, "20 Tsd. €", 20000.0),
    (EURO_WORDS, "2 Mrd. €", 2e9),
    (EURO_WORDS, "900000 €", 900000.0),
    (EURO, "1,5 Mio. €", REFUSED),
    (YEN, "1.5万円", 15000.0),
    (YEN, "2億", 2e8),
    (CENTS, "$1.20", 1.2),
    (CENTS, "75¢", 0.75),
    (CENTS, "75p", 0.75),
    (CELSIUS, "21.5 °C", 21.5),
    (CELSIUS, "-3°c", -3.0),
    (CELSIUS, "70 °F", REFUSED),
    (RENT, "12,5 €/m²", 12.5),
    (RENT, "12,5 € / m²", 12.5),
    (RENT, "12,5 €", REFUSED),
    (WAGE, "$25/hr", 25.0),
    (WAGE, "25 $/hr", 25.0),
    (ALCOHOL, "12.5 % vol", 12.5),
    (ALCOHOL, "0.5", REFUSED),
    (RUPEES, "Rs. 1,500/-", 1500.0),
    (PLAIN, "15.-", 15.0),
    (PLAIN, "15.--", 15.0),
    (PLAIN, "-15.-", -15.0),
    (PLAIN, "12.50-", -12.5),
    (PLAIN, "1 2-", REFUSED),
    (EURO, "15,-", 15.0),
    (EURO, "€ 1.215,–", 1215.0),
    (EURO, "15,- €", 15.0),
    (EURO, "15,— €", 15.0),
    (EURO, "(15,-)", -15.0),
    (EURO, "15-", -15.0),
    (EURO, "15--", REFUSED),
    (FRANC, "CHF 15.-", 15.0),
    (FRANC, "Fr. 1'215.--", 1215.0),
    (FRANC, "CHF 15.50", 15.5),
    (KRONA, "kr 15,-", 15.0),
    (KRONA, "-15,- kr", -15.0),
    (KRONA, "2 tkr", 2000.0),
    (KRONA, "2 Mkr", 2e6),
    (DOLLAR, "$ (37.50)", -37.5),
    (DOLLAR, "$(37.50)", -37.5),
    (DOLLAR, " $ (3,329.47) ", -3329.47),
    (DOLLAR, "(37.50) $", -37.5),
    (DOLLAR, "$ ( 5 )", -5.0),
    (DOLLAR, "($ (5))", REFUSED),
    (DOLLAR, "$ (5", REFUSED),
    (DOLLAR, "$ 5)", REFUSED),
    (EURO, "(1.234,50) €", -1234.5),
    (PERCENT, "(12.5)%", -12.5),
    (UNIT, "(12.5) kmpl", REFUSED),
    (DIRHAM, "AED 0.50", 0.5),
    (DIRHAM, "-AED 5", -5.0),
    (DIRHAM, "AED (5)", -5.0),
    (DIRHAM, "5 aed", 5.0),
    (DIRHAM, "THB 5", REFUSED),
    (RAND, "R 1,200.50", 1200.5),
    (RAND, "R1,200", 1200.0),
    (RAND, "Q 1,200", REFUSED),
    (SOL, "S/ 12.50", 12.5),
    (SOL, "S/.12.50", 12.5),
    (ABROAD, "US $ 5", 5.0),
    (ABROAD, "USD $5", 5.0),
    (ABROAD, "₱5", 5.0),
    (ABROAD, "S$5", 5.0),
    (ABROAD, "NT$5", REFUSED),
    (PLAIN, "V57", REFUSED),
    (PLAIN, "Room 12", REFUSED),
    (EURO_WORDS, "11 T€", 11000.0),
    (EURO_WORDS, "1,5T€", 1500.0),
    (EURO_WORDS, "T€ 11", 11000.0),
    (EURO_WORDS, "2,5 M€", 2.5e6),
    (EURO_WORDS, "M€ 2,5", 2.5e6),
    (EURO_WORDS, "€1,5T", 1.5e12),
    (EURO, "11 T€", REFUSED),
    (KRONA, "M€ 2 M", REFUSED),
    (OPEN, "50-", 50.0),
    (OPEN, "-50", -50.0),
    (OPEN_BAND, "50-", 50.0),
    (OPEN_BAND, "10-20", 15.0),
    (BAND, "10\u201420", 15.0),
    (SPACED, "1\u00a0234\u202f567", 1234567.0),
    (SPACED, "1 234.5", 1234.5),
    (PLAIN, "~5", REFUSED),
    (PLAIN, "<5", REFUSED),
    (PLAIN, "10-19", REFUSED),
    (BOUNDED, "~159834", 159834.0),
    (BOUNDED, "<5", 5.0),
    (BOUNDED, "< .5", 0.5),
    (BOUNDED, "ca. 5", 5.0),
    (BOUNDED, "Ca 5", 5.0),
    (BOUNDED, "approx. -5", -5.0),
    (BOUNDED, ">5", REFUSED),
    (BOUNDED, "<=5", REFUSED),
    (EITHER, "$5", 5.0),
    (EITHER, "5 USD", 5.0),
    (EITHER, "5 EUR", REFUSED),
    (EITHER, "€5", REFUSED),
    (UNIT, "12.5 g", REFUSED),
    (ORDINAL, "1st", 1.0),
    (ORDINAL, "22nd", 22.0),
    (ORDINAL, "4th", 4.0),
    (BAND, "10-20", 15.0),
    (BAND, "10–20 years", 15.0),
    (BAND, "10 to 20", 15.0),
    (BAND, "(10, 20]", 15.0),
    (BAND, "$10K - $20K", 15000.0),
    (BAND, "65+", 65.0),
    (BAND, "<18", 18.0),
    (BAND, "10-20 kg", REFUSED),
    (BAND, "10-", -10.0),
    (CLOCK, "9 pm", 21.0),
    (CLOCK, "9", REFUSED),
    (CLOCK, "9:30", 9.5),
    (CLOCK, "09:30:36", 9.51),
    (CLOCK, "9:30 pm", 21.5),
    (CLOCK, "09:00.0", 0.15),
    (CLOCK, "12:00 AM", 0.0),
    (CLOCK, "1 day, 2:00:00", 26.0),
    (CLOCK, "9:75", REFUSED),
    (ISO, "1970-01-02", 1.0),
    (ISO, "1970-01-02T12:00", 1.5),
    (ISO, "1970-01-02 12:00:00", 1.5),
    (ISO, "1970-01-02T12:00:00+02:00", 1.5 - 2 / 24),
    (ISO, "1970-01-02T12:00:00Z", 1.5),
    (ISO, "1970-01-02 12:00:00,000", 1.5),
    (ISO, "19700102T120000Z", 1.5),
    (ISO, "19700102", 1.0),
    (ISO, "1970-01-02T12", 1.5),
    (ISO, "1970-01-02T12:00:00+0200", 1.5 - 2 / 24),
    (ISO, "1970-01-02T12:00+02:00[Europe/Berlin]", 1.5 - 2 / 24),
    (ISO, "1970-01-02T12:00Z[UTC]", 1.5),
    (ISO, "1970-01-02T12:00+02:00[", REFUSED),
    (ISO, "02/01/1970", REFUSED),
    (ISO, "soon", REFUSED),
    (ISO, "NA", None),
    (DAY_FIRST, "15/01/1970", 14.0),
    (DAY_FIRST, "2/1/1970", 1.0),
    (DAY_FIRST, "02/01/1970 12:00", 1.5),
    (DAY_FIRST, "02/01/1970 6:00 PM", 1.75),
    (DAY_FIRST, "1970-01-02", 1.0),
    (DAY_FIRST, "01/15/1970", REFUSED),
    (DAY_FIRST, "31/02/1970", REFUSED),
    (MONTH_NAME, "Jan 02, 1970", 1.0),
    (MONTH_NAME, "jan 2, 1970", 1.0),
    (DAY_NAME, "2 Jan 1970", 1.0),
    (DAY_NAME, "2. Januar 1970", 1.0),
    (DAY_NAME, "2 de enero de 1970", 1.0),
    (DAY_NAME, "2 janv. 1970", 1.0),
    (DAY_NAME, "2nd of January 1970", 1.0),
    (DAY_NAME, "2. März 1970", 60.0),
    (DAY_NAME, "2 marzo 1970", 60.0),
    (DAY_NAME, "2 mrt 1970 12:00", 60.5),
    (DAY_NAME, "2 Foo 1970", REFUSED),
    (DAY_NAME, "2 de enero", REFUSED),
    (MONTH_NAME, "Jan. 2nd, 1970", 1.0),
    (QUARTER, "Q1 1970", 0.0),
    (QUARTER, "q2 1970", 90.0),
    (QUARTER, "Q5 1970", REFUSED),
    (MONTH, "1970-02", 31.0),
    (MONTH, "1970-01-02", 1.0),
    (DAY_DIGITS, "02011970", 1.0),
    (DAY_DIGITS, "2011970", 1.0),
    (DAY_DIGITS, "1121970.0", 334.0),
    (DAY_DIGITS, "1970-01-02", 1.0),
    (DAY_DIGITS, "111970", REFUSED),
    (YEAR_DIGITS, "700102", 1.0),
    (YEAR_DIGITS, "102", 10958.0),
    (YEAR_DIGITS, "02", REFUSED),
    (DIGITS, "1970012", REFUSED),
    (DIGITS, "19700102", 1.0),
    (DIGITS, "19700102.0", 1.0),
    (DIGITS, "19700102.5", REFUSED),
    (DIGITS, "99991231", 2932896.0),
    (ENDS, "19700102", 1.0),
    (ENDS, "0", None),
    (ENDS, "00000000", REFUSED),
    (BORN, "02-Jan-70", 1.0),
    (BORN, "02-Jan-36", 24107.0),
    (BORN, "02-Jan-37", -12052.0),
    (BORN, "02-Januar-37 12:00", -12051.5),
    (BORN_DIGITS, "02/01/70", 1.0),
    (BORN_DIGITS, "01/01/71", -36159.0),
    (BORN_DIGITS, "29/02/00", REFUSED),
    (ORACLE, "02-JAN-68", 35795.0),
    (ORACLE, "02-JAN-69", -364.0),
    (YEAR_MONTH, "197002", 31.0),
    (YEAR_MONTH, "197002.0", 31.0),
    (YEAR_MONTH, "197013", REFUSED),
    (STAMP, "19700102120000", 1.5),
    (FILTRATION, "88 mL/min/1.73m2", 88.0),
    (FILTRATION, "88.5 mL/min/1.73m2", 88.5),
    (FILTRATION, "88 mL/min/1.93m2", REFUSED),
    (DASHES, "1970-01-02 12:00:00 UTC", 1.5),
    (DASHES, "1970-01-02 12:00:00.000 GMT", 1.5),
    (DASHES, "1970-01-02T12:00:00 UTC", 1.5),
    (DASHES, "1970-01-02 UTC", REFUSED),
    (DASHES, "1970-01-02 12:00 CEST", 1.5 - 2 / 24),
    (DASHES, "1970-01-02 06:00:00 PST", 1.25 + 8 / 24),
    (DASHES, "1970-01-02 12:00 ABC", REFUSED),
    (DASHES, "1970-01-02 constructor", REFUSED),
    (DASHES, "1970-01-02-12:00:00", 1.5),
    (LONG, "January 2, 1970 at 6:00 PM", 1.75),
    (DAY_FIRST, "02/01/1970, 6:00:00 PM", 1.75),
    (DAY_FIRST, "02/01/1970 12:00 Uhr", 1.5),
    (MAIL, "Fri, 02 Jan 1970 12:00:00 GMT", 1.5),
    (MAIL, "Fri, 02 Jan 1970 12:00:00 +0200", 1.5 - 2 / 24),
    (SCRIPT, "Fri Jan 02 1970 12:00:00 GMT+0200 (Central European Summer Time)", 1.5 - 2 / 24),
    (ORACLE, "02-JAN-70 12.00.00.000000 PM", 1.5),
    (ORACLE, "02-OCT-70 06.00.00 PM", 274.75),
    (SAS, "02JAN1970:12:00:00", 1.5),
    (SAS, "02JAN1970:12:00:00.000", 1.5),
    (SAS, "02JAN1970", 1.0),
    (PHOTO, "1970:01:02 12:00:00", 1.5),
    (SIGNS, "1970年1月2日 12:00", 1.5),
    (FLAG, "true", 1.0),
    (FLAG, "FALSE", 0.0),
    (FLAG, "yes", 1.0),
    (FLAG, "N", 0.0),
    (FLAG, "1", 1.0),
    (FLAG, "0.0", 0.0),
    (FLAG, "maybe", REFUSED),
    (FLAG, "", None),
    (COLOUR, "red", 1.0),
    (COLOUR, " red", 1.0),
    (COLOUR, "RED", 1.0),
    (COLOUR, "3", 2.0),
    (COLOUR, "3.0", 2.0),
    (COLOUR, "NA", 0.0),
    (COLOUR, "blue", UNKNOWN),
    (COLOUR, "", None),
    (COLOUR, "?", None),
    (COLOUR, "null", None),
    (COLOUR, "None", None),
    (COLOUR, "none", UNKNOWN),
    (PLACE, "Bath", 0.0),
    (PLACE, "bath ", 1.0),
    (PLACE, "York\u00a0", 2.0),
    (GENE, "AA", 0.0),
    (GENE, "Aa", 1.0),
    (GENE, "aa", 2.0),
    (GENE, "aA", UNKNOWN),
    (SIZE, "1.5", 0.0),
    (SIZE, "1.50", 1.0),
    (SIZE, "1.500", 0.0),
    (SIZE, "3.00", 2.0),
    (SIZE, ".5", UNKNOWN),
    (DAY, "2022-01-01", 0.0),
    (DAY, "2022-01-01T00:00:00", 0.0),
    (DAY, "2022-01-01 00:00:00", 0.0),
    (DAY, "2022-01-02T10:00:00", 1.0),
    (DAY, "2022-01-02", UNKNOWN),
    (BLANKS, "None", 0.0),
    (BLANKS, "NA", UNKNOWN),
    (BLANKS, "", None),
]
FEATURES = FeatureSpace(tuple(dict.fromkeys(feature for feature, _, _ in CASES)))
