"""What a release says in prose of where its weights come from: "trained from scratch", or from a named model.

Enters: documents of the release.  Leaves: the sentence that claims training from scratch, or nothing; how a reference is named. A contradiction between a
card and a measurement is told first, so a claim is only read where it is sure: a sentence with a negation, a comparison, a condition, a part of the model
or somebody else as its subject is no claim, and neither is any sentence of a card that says the opposite elsewhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from begat.audit.prose import Sentence, sentences


@dataclass(frozen=True, slots=True)
class _Language:
    """claim: the words; before, after: what before or behind them (in the sentence) withholds the claim."""

    claim: re.Pattern[str]
    before: re.Pattern[str]
    after: re.Pattern[str]


def _words(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


_PARTS = (
    r"token[iz]+ers?|vocabular(?:y|ies)|vocab|embeddings?|heads?|classifiers?|adapters?|lora|projectors?|connectors?|(?<!-)encoders?(?!-)|"
    r"(?<!-)decoders?(?!-)|vision|audio|towers?|routers?|(?<![-\w])layers?|modules?|reward|drafts?|vae"
)
_LANGUAGES = (
    _Language(
        _words(
            r"\b(?:pre-?)?trained\b(?:\s+[\w,%().+/-]+){0,14}?\s+(?:(?:entirely|completely|fully|all)\s+)?from[\s-]+scratch\b"
            r"|\bfrom[\s-]+scratch[\s-]+(?:pre-?)?trained\b"
            r"|\b(?:pre-?)?trained\b(?:\s+[\w,%().+/-]+){0,14}?\s+from\s+(?:an?\s+)?(?:random(?:ly)?\s+(?:initiali[sz](?:ation|ed\s+\w+)|weights|parameters))"
            r"|\b(?:weights|parameters|model)\s+(?:was|were|is|are)\s+(?:all\s+)?randomly\s+initiali[sz]ed\b"
        ),
        _words(
            r"\b(?:not|never|no|nor|neither|without|rather|instead|unlike|than|versus|vs|cannot|hardly|avoid\w*|skip\w*|if|would|could|can|may|might|should|must|"
            r"want\w*|need\w*|how|you|your|plan\w*|will|future|todo|whether|either|which|who|whose|where|compar\w+|against|baselines?|ablations?|outperform\w*|"
            r"evaluat\w+|benchmark\w*|similar\w*|follow\w*|inspired|based|initiali[sz]ed|fine-?tun\w+|finetun\w+|continu\w+|distil\w+|merg\w+|adapt\w+|warm|"
            r"upcycl\w+|deriv\w+|models|teachers?|students?|other|others|these|those|they|their|competing|existing|previous|prior|many|most|some|cost\w*|expensive|"
            rf"cheap\w*|to\s+train|except|but|starting|start|both|{_PARTS})\b|n['’]t\b|\?"
        ),
        _words(
            r"\?|\b(?:would|could|might|not\s+(?:needed|required|necessary|done|feasible|possible|an?\s+option|the\s+case|practical)|unnecessary|infeasible|impossible|"
            r"expensive|costly|instead|however|whereas|while|but|except|rather|ours|baselines?|or)\b|\b(?:is|was|are|were)\s+not\b|n['’]t\b"
            rf"|^\s*(?:an?|the|our|its|their|new)\s+(?:[\w-]+\s+){{0,3}}(?:{_PARTS})\b"
        ),
    ),
    _Language(
        re.compile(
            r"(?:从|從|自)(?:零|头|頭|0)(?:开始|開始|起步|起)?(?:的)?[^，,。；;]{0,8}?(?:预训练|預訓練|训练|訓練)"
            r"|(?:预训练|預訓練|训练|訓練)(?:过程)?(?:完全)?(?:是)?(?:从|從|自)(?:零|头|頭)(?:开始|開始)|从随机初始化[^，。]{0,8}?训练|從隨機初始化[^，。]{0,8}?訓練"
        ),
        re.compile(_ZH := (
            r"不是|并非|並非|而非|非从|非從|没有|沒有|并未|並未|未从|未從|未曾|無需|无需|无须|無須|不需|不用|不必|不会|不會|不从|不從|不同|不像|与其|與其|而不是|"
            r"相比|对比|對比|比从|比從|相较|相較|优于|優於|如果|若|可以|可从|能够|能夠|需要|如何|怎么|怎樣|是否|吗|嗎|或者|或|分词器|分詞器|词表|詞表|嵌入|编码器|編碼器|视觉|視覺|"
            r"适配器|適配器|其他|其它|他们|他們|基于|基於|微调|微調|继续|繼續|初始化自|计划|計劃|将|將|成本|昂贵|昂貴|[？?]"
        )),
        re.compile(_ZH.replace("|微调|微調", "").replace("|将|將", "") + r"|不同|不现实|不可行"),
    ),
    _Language(
        re.compile(r"(?:ゼロ|スクラッチ|フルスクラッチ|一)から[^、。]{0,8}?(?:事前学習|学習|訓練)|フルスクラッチ(?:で)?(?:事前学習|学習|訓練)"),
        re.compile(_JA := r"ではな|ではあり|でな|ません|なく|ない|せず|比べ|より|場合|可能|たら|れば|トークナイザ|他の|ファインチューニング|[？?]|か$"),
        re.compile(_JA),
    ),
    _Language(
        re.compile(r"(?:처음부터|스크래치(?:부터|에서)?|밑바닥부터)\s*[^,.]{0,8}?(?:사전\s*학습|학습|훈련)"),
        re.compile(_KO := r"아니|않|없이|없|대신|보다|비해|경우|토크나이저|다른|하려면|[?]"), re.compile(_KO),
    ),
    _Language(
        _words(r"\bvon\s+(?:grund\s+auf|null(?:\s+a[nu]f?)?)\b[^.,;]{0,40}?\btrainiert|\btrainiert\w*[^.,;]{0,40}?\bvon\s+(?:grund\s+auf|null)\b"),
        _words(_DE := r"\b(?:"
            r"nicht|kein\w*|statt|anstatt|ohne|gegensatz|anders|wenn|falls|kann|könn\w*|würde\w*|als|tokenizer|andere\w*|oder|wie|sie|encoder)\b|\?"),
        _words(_DE),
    ),
    _Language(
        _words(r"\b(?:pré-?)?entra[iî]n[ée]\w*\b[^.,;]{0,60}?\b(?:à\s+partir\s+de\s+z[ée]ro|depuis\s+z[ée]ro|de\s+z[ée]ro|from\s+scratch)\b"),
        _words(_FR := r"\b(?:ne|pas|non|sans|plutôt|contrairement|si|peut|pourrait|lieu|autres?|ou|tokenis\w+|que|comment|vous|encodeur)\b|\bn['’]|\?"),
        _words(_FR),
    ),
    _Language(
        _words(r"\b(?:pre-?)?(?:entrenad|treinad)[oa]s?\b[^.,;]{0,60}?\b(?:desde\s+cero|do\s+zero)\b|\baddestrat[oaie]\b[^.,;]{0,60}?\bda\s+zero\b"),
        _words(_RO := r"\b(?:no|não|non|sin|sem|senza|lugar|vez|invece|diferencia|contrário|differenza|si|se|puede|"
            r"pode|può|otros?|outros?|altri|ou|que|che|tokeni\w+|como|come)\b|\?"),
        _words(_RO),
    ),
    _Language(
        _words(r"\bобуч\w+[^.,;]{0,60}?\bс\s+нуля\b|\bс\s+нуля\b[^.,;]{0,40}?\bобуч\w+"),
        _words(_RU := r"\b(?:не|без|вместо|отличие|если|можно|может|другие|других|или|чем|токенизатор\w*|как|вы)\b|\?"), _words(_RU),
    ),
)  # fmt: skip
#: a whole card that says one of these of its weights claims no training from scratch
_ELSEWHERE = _words(
    r"\binitiali[sz]ed\s+(?:from|with|using)\s+(?!random|scratch)|\bcontinu(?:ed|ous|al|ally)\s+(?:pre-?)?train|\bfine-?tuned?\s+(?:from|version|variant)\b|"
    r"\b(?:a\s+)?merge\s+of\b|\bquanti[sz]ed\s+(?:version|from)\b|\bup-?cycled\b|\bwarm[\s-]start|继续预训练|繼續預訓練|继续训练|微调自|基于[^。，]{0,30}(?:权重|微调|继续)"
)
_RANDOM = _words(r"from[\s-]+scratch|randomly\s+initiali[sz]ed")
#: the sentence speaks of the model of the card
_SELF = _words(r"\b(?:we|our|us|this|it|its|the\s+(?:base\s+)?(?:model|network|weights)|all\s+(?:weights|parameters)|i)\b")
_GENERIC = frozenset(
    re.findall(
        r"\w+",
        "base model models parent child reference upstream original release main teacher student small large mini chat instruct latest weights "
        "checkpoint up r a b c x ref source new old final output test demo data",
    )
)
#: ends of names that do not tell one family from another
_SUFFIXES = frozenset(re.findall(r"\w+", "instruct chat base it hf pt gguf awq gptq int4 int8 fp8 bf16 fp16 4bit 8bit preview"))
#: what is taken over from a model when its weights are not
_DESIGN = _words(r"\b(?:architecture|design|tokeni[sz]er|codebase|implementation|framework|recipe|template|vocabulary|code|data(?:sets?)?|outputs?|"
    r"generated|synthetic|responses|distill\w*|judge\w*)\b|合成数据|数据|"
    r"架构|架構|分词器|分詞器|框架|代码")
_WEIGHTS = _words(r"\bweights?\b|\bcheckpoints?\b|fine-?tun|\bbase[\s_-]+model|initiali[sz]ed|\bcontinu|merge|quanti[sz]|权重|權重|微调|微調|初始化|继续")
_FROM = _words(
    r"fine-?tun|\bbased\s+on\b|\bbase\s+model|\bbase_model|\b(?:made|derived|built|adapted|initiali[sz]ed|distilled|converted|quanti[sz]ed|trained|start\w*|forked|"
    r"created|developed|upcycled|pruned|merged?|tuned|taken|reused?|copied)\b(?:\s+[\w-]+){0,4}\s+(?:from|on|upon|of|with|out\s+of|using|into)\b|\bcontinu\w+\s+"
    r"(?:pre-?)?train|\b(?:weights|checkpoint|version|variant|merge|quanti[sz]ation|conversion|derivative|adapter|copy)\s+(?:of|for|from)\b|\bon\s+top\s+of\b|"
    r"\bpowered\s+by\b|\bbuilt\s+with\b|\bimproved\s+using\b|\bbackbone\b|\bderives?\b|基于|基於|源自|来自|來自|衍生|微调|微調|继续预?训练|初始化|底座|基座|量化|蒸馏|改自|派生"
)
_APART = _words(
    r"\b(?:not|never|no|neither|nor|unlike|without|rather\s+than|instead\s+of|compar\w+|outperform\w*|versus|vs|better|worse|than|benchmark\w*|beats?|surpass\w*|"
    r"baselines?|comparable|competit\w+|exceed\w*|independent\w*)\b|n['’]t\b|并非|不是|没有|沒有|未基于|不基于|并未|对比|對比|相比|超过|優於|优于|媲美|无关|無關"
)


def scratch_claim(card: str, name: str) -> str:
    """The sentence that says of the model called `name` that it was trained from scratch; "" where none does, or it is not sure."""
    found = ""
    names = [n.casefold() for n in _own_names(card, name)]
    for s in sentences(card):
        for language in _LANGUAGES:
            match = language.claim.search(s.text)
            if match is None:
                continue
            before, after = s.text[: match.start()], s.text[match.end() :]
            if language.before.search(before) or language.before.search(_RANDOM.sub("", match[0])) or language.after.search(after):
                if language.before.search(before) and not s.row and _denies(before):
                    return ""  # the card says elsewhere that it was not
            elif not s.row and not found and _of_this_model(before, s, names, language is _LANGUAGES[0]):
                found = s.text
        if not s.row and _ELSEWHERE.search(s.text) and not _APART.search(s.text):
            return ""
    return found[:300]


def _denies(before: str) -> bool:
    return re.search(r"\b(?:not|never)\s*(?:\w+\s+){0,2}$|n['’]t\s*(?:\w+\s+){0,2}$|(?:不是|并非|並非|没有|沒有|并未|並未|未)\w{0,3}$", before) is not None


def _of_this_model(before: str, s: Sentence, names: list[str], english: bool) -> bool:
    """The subject is the card's own model: nobody is named before the claim, or the model itself, or the authors."""
    if not english:
        return True  # what names others withholds the claim in the table above
    if s.heading:
        return bool(before.strip()) and any(n in before.casefold() for n in names)
    if before.strip().casefold() in ("", "all", "the", "all the", "its", "our") or any(n in before.casefold() for n in names) or _SELF.search(before):
        return not _strangers(before, names)
    return re.match(r"\s*(?:an?|the)\s", before, re.IGNORECASE) is not None and not _strangers(before, names)


def _strangers(before: str, names: list[str]) -> bool:
    """Names with a digit or an inner capital (OLMo, GPT-2) that are not the model's own."""
    for word in re.findall(r"[\w.-]+", before):
        odd = (word[0].isupper() and (any(c.isdigit() for c in word) or any(c.isupper() for c in word[1:]))) and not word.isupper()
        acronym = word.isupper() and any(c.isdigit() for c in word) and len(word) > 2 and not re.fullmatch(r"\d[\d.]*[BMKT]", word)
        if (odd or acronym) and word.casefold() not in names and not any(word.casefold() in n or n in word.casefold() for n in names):
            return True
    return False


def _own_names(card: str, name: str) -> list[str]:
    """What the release is called: by the user, and by its card's first heading."""
    heading = next((s.text for s in sentences(card) if s.heading), "")
    words = [w.strip(":,.()") for w in heading.split()[:6] if len(w) > 2]
    last = name.rsplit("/", 1)[-1]
    parts = [w for w in re.findall(r"[^\W_\d]+", last) if len(w) > 3]
    return [n for n in (last, *parts, *words) if n and n.casefold() not in ("model", "card", "the", "for", "trained", "from", "scratch")]


def standing(text: str, name: str) -> str:
    """How a document names a model: "said" (as what it was made from), "named" (in prose, not so), "compared" (only in tables, comparisons and denials) or "".

    A name that is a plain word ("base") is not looked for: it would be found in any card.
    """
    wanted = _spellings(name)
    if wanted is None or not wanted.search(text):
        return ""
    best = "compared"
    for s in sentences(text):
        if not wanted.search(s.text) or _APART.search(s.text):
            continue
        if _FROM.search(s.text) and (_WEIGHTS.search(s.text) or not _DESIGN.search(s.text)):
            return "said"
        best = best if s.row else "named"
    return best


def names_same(a: str, b: str) -> bool:
    """May two names stand for one model or its tuned variants: alike but for owner, separators and words such as "Instruct"?"""
    pattern = _spellings(a, sizes=False)
    return pattern is not None and pattern.search(b.rsplit("/", 1)[-1]) is not None


def _spellings(name: str, sizes: bool = True) -> re.Pattern[str] | None:
    """A pattern for a model's name however it is parted, without what stands behind family and version (and size, where `sizes`); None for a plain
    word.
    """
    whole, last = name.casefold(), name.casefold().rsplit("/", 1)[-1]
    tokens = re.findall(r"[^\W_]+(?:\.\d+)*", whole if last in _GENERIC else last)
    while len(tokens) > 1 and (tokens[-1] in _SUFFIXES or (sizes and re.fullmatch(r"\d+(?:\.\d+)?[bmkt]", tokens[-1]))):
        tokens.pop()
    if not tokens or (len(tokens) == 1 and (tokens[0] in _GENERIC or len(tokens[0]) < 3)):
        return None
    return re.compile(r"(?<![A-Za-z0-9.-])" + r"[-_\s./]*".join(map(re.escape, tokens)) + r"(?![a-z0-9])", re.IGNORECASE)
