"""What a licence text calls itself: the published licence that its wording is close to, or another licence or version.

Enters: the lines above a text's body, a `Licence`.  Leaves: "own", "other", "edition" or "none" and the
title as found.  Who finds the body: `identify.py`.  A text is only ever called an edited X where it calls itself X: names,
versions and dates of its heading are held against those that the table and the published wording give the licence, so that a
licence or a version that nobody here has heard of is another one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

from begat.audit.licences.dates import Date, agree, cut_dates
from begat.audit.licences.table import TABLE, Licence
from begat.audit.licences.words import word_hash

#: words that make a short line the name of a licence
_NOUN = re.compile(
    r"licen[cs]|agreement|terms|\brail\b|rail\+|openrail|\beula\b|polic[yi]|许可|許可|协议|協議|条款|條款|授权|授權|协定|"
    r"ライセンス|規約|라이선스|약관|lizenz|licencia|licença|licenza|лицензи|\battribution|\binternational\b|\bunported\b",
    re.IGNORECASE,
)
#: words that make a line a sentence of prose, which names a licence only as "the X Licence"
_PROSE = re.compile(
    r"\b(?:is|are|be|was|were|been|shall|may|must|can|will|you|your|we|our|us|it|that|which|who|hereby|means|mean|granted?|"
    r"following|below|see|subject|except|not|if|by|from|any|all|has|have|provided|permission)\b|[是为為的了在请請]",
    re.IGNORECASE,
)
#: words of a line that says which edition this is
_EDITION = re.compile(
    r"\bversion\b|\bver\.|\bv\d|\brev(?:ision)?\b|\bdated?\b|\blast\b|\beffective\b|\breleased?\b|\bupdated\b|"
    r"\bedition\b|^\W*\d|版本|第.{1,3}版|日期|发布|發布|更新|生效",
    re.IGNORECASE,
)
_IN_PROSE = re.compile(
    r"(?<!\w)((?:[a-z]{0,6}[A-Z0-9][\w.+-]*[ \t]+){1,8}(?:Licen[cs]e|LICEN[CS]E|Agreement|AGREEMENT)(?:[ \t,]+(?i:v(?:ersion|er\.)?[ \t]*)?\d[\d.]*)?)"
)
#: a capitalised run of prose begins to be a name behind the last of these
_STOP = re.compile(r"^.*\b(?:is|are|under|the|a|an|this|of|by|with|to|in|and|or|licensed|see|for)\s+", re.IGNORECASE)
_LIST = re.compile(r"^\s*\(?(?:\d{1,2}|[ivx]{1,4})[.)]\s+", re.IGNORECASE)
_MARKS = re.compile(r"https?://\S+|www\.\S+|<[^>\n]{0,200}>|\]\([^)\n]{0,300}\)|&\w{2,8};", re.IGNORECASE)
_COPYRIGHT = re.compile(r"\bcopyright\b.*|\(c\).*|©.*|\ball rights reserved.*", re.IGNORECASE)
_LAST = re.compile(r"\blast\s+(?:modified|updated|revised|changed)\b", re.IGNORECASE)
_CJK = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")
_TOKEN = re.compile(rf"{_CJK.pattern}+|(?:(?!{_CJK.pattern})[^\W\d_])+(?:\+\+?)?|\d+(?:\.\d+)*")
#: words of Chinese, Japanese and Korean titles that name no licence
_CJK_FORM = re.compile(
    r"社区|社區|开放|開放|模型|许可证|許可證|许可|許可|协议书|协议|協議|条款|條款|使用|授权|授權|协定|合同|服务|版本|版|第|号|软件|軟體|文件|"
    r"本|的|与|和|及|ライセンス|利用規約|規約|契約|라이선스|이용약관|약관"
)
_CJK_NUMBER = {c: i for i, c in enumerate("一二三四五六七八九十", 1)}
#: words of titles that name no licence
_FORM = frozenset(
    word for words in (
    "license licence licenses licences licensing licensed licensor agreement agreements terms term conditions condition of use uses",
    "usage the a an and or for to in on with version ver v rev revision release released date dated effective last",
    "as this under file text full copy notice legal model models weight weights software code spdx identifier licenseref",
    "scancode end user eula la tou section preamble part reproduction distribution txt md s x",
    ) for word in words.split()
)  # fmt: skip
_LONGEST = 16
_LINE = 24  # words of a line that are looked at


@dataclass(frozen=True, slots=True)
class Title:
    """What a heading says: `stands` is "own" (the published name, no version or date against it), "other" (another name, version
    or date), "edition" (the published name without the version or date that tells its editions apart) or "none"; `words`: the
    heading as found.
    """

    stands: str
    words: str


@dataclass(frozen=True, slots=True)
class _Names:
    """What a licence is called: words (and runs of words) of its names, those that tell it from the table's others, names as sets,
    versions, dates, hashes of its first words.
    """

    words: frozenset[str]
    core: frozenset[str]
    exact: frozenset[frozenset[str]]
    versions: frozenset[str]
    dates: tuple[Date, ...]
    hashes: frozenset[str]


def read_title(head: list[str], one: Licence, inserted: Sequence[str] = ()) -> Title:
    """What the lines above a body say of the licence `one`.

    Args:
        head: the lines.
        one: the licence whose wording the body is near to.
        inserted: of a text without line breaks: words among its first that the published opening does not have.

    A single name, version or date that is not the licence's makes it "other".
    """
    own = _names(one)
    others = [x for x in TABLE.licences.values() if x is not one]
    named = edition = False
    said: list[str] = []
    phrases = [(line, list(_phrases(line))) for line in _lines(head)]
    phrases += [(line, [(line, True)]) for line in _lines([" ".join(w for w in inserted if not _PROSE.fullmatch(w))])]
    for line, found in phrases:
        for phrase, is_name in found:
            if not is_name and not own.versions and not own.dates:
                continue  # no edition of this licence is told by a version or a date
            rest, dates = cut_dates(phrase)
            words, versions = _split(rest)
            said.append(line)
            if (is_name and _names_another(words, versions, own, others)) or _edition_differs(versions, dates, own):
                return Title("other", _shown(said))
            named = named or bool(is_name and own.core & {*words, "".join(words)})
            edition = edition or bool(versions or dates)
    if not named:
        return Title("none", _shown(said))
    return Title("own" if edition or not (own.versions or own.dates) else "edition", _shown(said))


def _shown(lines: list[str]) -> str:
    return " ".join(dict.fromkeys(lines))[:200]


def _lines(head: list[str]) -> Iterator[str]:
    """Lines without marks of form, copyright lines and rules left out; one endless line is cut."""
    for raw in head[:60]:
        line = _LAST.sub("last", _COPYRIGHT.sub(" ", _MARKS.sub(" ", raw[:2000])))
        line = re.sub(r"^[\s#>*=_/;|\-]+|[\s#*=_/;|]+$|[*_`\[\]]", " ", line)
        line = " ".join(_LIST.sub("", line.strip()).split())
        if line:
            yield " ".join(line.split(" ")[:_LINE])


def _phrases(line: str) -> Iterator[tuple[str, bool]]:
    """(phrase, does it name a licence) of one line; phrases that only say which edition it is name none."""
    count = len(line.split())
    prose = _PROSE.search(line) is not None or count > _LONGEST
    if not prose and _NOUN.search(line):
        yield line, True
    elif not prose and _EDITION.match(line):
        yield line, False
    elif prose:
        for match in _IN_PROSE.finditer(line):
            yield _STOP.sub("", match[1]), True


def _split(phrase: str) -> tuple[list[str], frozenset[str]]:
    """(words that may name a licence, versions) of a phrase whose dates were cut out."""
    words: list[str] = []
    versions: set[str] = set()
    for token in _TOKEN.findall(phrase.casefold().replace("’s", "").replace("'s", "")):
        if token[0].isdigit():
            versions.add(_version(token))
        elif _CJK.search(token):
            numbers = re.findall(r"第([一二三四五六七八九十])版", token)
            versions |= {str(_CJK_NUMBER[n]) for n in numbers}
            rest = _CJK_FORM.sub("", re.sub(r"第[一二三四五六七八九十]版", "", token))
            if rest:
                words.append(rest)
        elif token not in _FORM:
            words.append(token)
    return words, frozenset(versions)


def _version(text: str) -> str:
    """A version without noughts at its end: 2.0 and 2 are one."""
    parts = text.split(".")
    while len(parts) > 1 and not parts[-1].strip("0"):
        parts.pop()
    return ".".join(p.lstrip("0") or "0" for p in parts)


def _edition_differs(versions: frozenset[str], dates: tuple[Date, ...], own: _Names) -> bool:
    unknown = [d for d in dates if not _hashed_date(d, own) and not agree(d, own.dates)]
    return bool(unknown) or not versions <= own.versions


def _names_another(words: list[str], versions: frozenset[str], own: _Names, others: Sequence[Licence]) -> bool:
    """A word that no name of this licence has, or the whole name of another licence that is not one of this."""
    if any(w not in own.words and word_hash(w) not in own.hashes for w in words):
        return True
    found = frozenset(words)
    return found not in own.exact and any(found in n.exact and found & n.core and versions <= n.versions for n in map(_names, others))


def _hashed_date(date: Date, own: _Names) -> bool:
    """Does the date stand in a heading that is only known by its hashes?"""
    return bool(own.hashes) and all(word_hash(w) in own.hashes for w in date.words)


@cache
def _names(one: Licence) -> _Names:
    """What the table and the first words of the published text call a licence."""
    plain = (one.title, *one.titles, *one.names, *one.card, one.spdx)
    start = " ".join(one.shown[:_LONGEST])
    words: set[str] = set()
    exact: set[frozenset[str]] = set()
    versions: set[str] = set()
    dates: list[Date] = []
    for text in (*plain, start):
        rest, found = cut_dates(text.replace("_", " "))
        parts, numbers = _split(rest)
        tokens = [t for t in _TOKEN.findall(rest.casefold()) if not t[0].isdigit()]
        words |= {"".join(tokens[i:j]) for i in range(len(tokens)) for j in range(i + 1, min(len(tokens), i + 4) + 1)}
        words |= set(parts)
        if text != start:
            exact.add(frozenset(parts))
        versions |= {n for n in numbers if not re.fullmatch(r"(?:19|20)\d\d", n)}
        dates += found
        dates += [Date(int(n), None, None, (n,)) for n in numbers if re.fullmatch(r"(?:19|20)\d\d", n)]
    hashes = frozenset(one.words[:_LONGEST]) if not one.shown else frozenset[str]()
    return _Names(frozenset(words), _core(one), frozenset(exact), frozenset(versions), tuple(dates), hashes)


@cache
def _core(one: Licence) -> frozenset[str]:
    """Words of a licence's names that no other name in the table has; all of them where it shares them all (editions of one licence)."""
    mine, theirs = ({w for t in texts for w in _split(cut_dates(t)[0])[0]} for texts in (
        (one.title, *one.titles), [t for x in TABLE.licences.values() if x.id != one.id for t in (x.title, *x.titles)],
    ))  # fmt: skip
    return frozenset(mine - theirs or mine)
