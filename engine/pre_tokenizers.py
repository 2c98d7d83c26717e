r"""How a byte-level vocabulary wants text split before its merges apply, by the name in ``tokenizer.ggml.pre``.

A GGUF file names the splits and does not hold them. Each entry is a list of regular expressions (Oniguruma, as the
``tokenizers`` library reads them), applied one after the other: a match is a piece of its own, and so is what lies
between two matches. They are those of the models' published tokenizers; llama.cpp's ``llama-vocab.cpp`` keeps the
names. A name that is not here is refused: a wrong split gives wrong ids without any error.
"""

from __future__ import annotations

from tokenizers import Regex
from tokenizers.pre_tokenizers import ByteLevel, PreTokenizer, Sequence, Split

_WORDS = r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
_CLITICS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
_WORD = r"[^\r\n\p{L}\p{N}]?\p{L}+"
_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_CASED_WORD = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+"
_CASED_NAME = rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*"
_CASED_SIGNS = r" ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_DEEPSEEK_WORDS = (
    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
    r"""| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"""
)
# In numbers, because an editor that composes characters moves the ends of three ranges (U+1F7D, U+1FD3, U+1FDB).
_CASED_LETTERS = (
    "41-5A 61-7A B5 C0-D6 D8-F6 F8-1BA 1BC-1BF 1C4-293 295-2AF 370-373 376-377 37B-37D 37F 386 388-38A 38C 38E-3A1 "
    "3A3-3F5 3F7-481 48A-52F 531-556 10A0-10C5 13A0-13F5 13F8-13FD 1C90-1CBA 1CBD-1CBF 1D00-1D2B 1D6B-1D77 1D79-1D9A "
    "1E00-1F15 1F18-1F1D 1F20-1F45 1F48-1F4D 1F50-1F57 1F59 1F5B 1F5D 1F5F-1F7D 1F80-1FB4 1FB6-1FBC 1FBE 1FC2-1FC4 "
    "1FC6-1FCC 1FD0-1FD3 1FD6-1FDB 1FE0-1FEC 1FF2-1FF4 1FF6-1FFC 2102 2107 210A-2113 2115 2119-211D 2124 2126 2128 "
    "212A-212D 212F-2134 2139 213C-213F 2145-2149 214E 2183-2184 2C00-2C7B 2C7E-2CE4 2CEB-2CEE 2CF2-2CF3 A640-A66D "
    "A680-A69B A722-A76F A771-A787 A78B-A78E AB70-ABBF FB00-FB06 FB13-FB17 FF21-FF3A FF41-FF5A 10400-1044F "
    "104B0-104D3 104D8-104FB 10C80-10CB2 10CC0-10CF2 118A0-118DF 1E900-1E943"
)
_SIGN_RANGES = "21-2F 3A-7E FF01-FF0F FF1A-FF5E 2018-201F 3000-3002"


def _class(ranges: str) -> str:
    r"""``41-5A B5`` as the character class ``[A-Zµ]``, every character escaped."""
    ends = [[rf"\x{{{end}}}" for end in entry.split("-")] for entry in ranges.split()]
    return f"[{''.join('-'.join(pair) for pair in ends)}]"


GPT2 = (_WORDS,)
SINGLE_DIGITS = (r"\p{N}", _WORDS)
LLAMA3 = (rf"{_CLITICS}|{_WORD}|\p{{N}}{{1,3}}|{_SIGNS}",)
QWEN2 = (rf"{_CLITICS}|{_WORD}|\p{{N}}|{_SIGNS}",)
GPT4O = (rf"{_CASED_WORD}{_CLITICS}?|{_CASED_NAME}{_CLITICS}?|\p{{N}}{{1,3}}|{_CASED_SIGNS}",)
TEKKEN = (rf"{_CASED_WORD}|{_CASED_NAME}|\p{{N}}|{_CASED_SIGNS}",)
FALCON = (r"[\p{P}\$\+<=>\^~\|`]+", _WORDS, r"[0-9][0-9][0-9]")
_CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+"
DEEPSEEK_LLM = (r"[\r\n]", rf"\s?{_class(_CASED_LETTERS)}+", rf"\s?{_class(_SIGN_RANGES)}+", r"\s+$", _CJK, r"\p{N}")
DEEPSEEK_CODER = (r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", _CJK, r"\p{N}")
DEEPSEEK_V3 = (r"\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", _DEEPSEEK_WORDS)

_NAMES = {
    "gpt-2 phi-2 olmo mpt jais trillion gigachat exaone4 granite-docling mellum a.x-4.0": GPT2,
    "smollm starcoder refact command-r codeshell exaone minerva-7b mellum2": SINGLE_DIGITS,
    "llama3 llama-v3 llama-bpe falcon3 falcon-h1 pixtral midm-2.0 lfm2 dbrx smaug-bpe glm4 chatglm-bpe": LLAMA3,
    "qwen2 deepseek-r1-qwen megrez stablelm2 kormo hunyuan solar-open grok-2": QWEN2,
    "gpt-4o llama4 kanana2 minimax-m2": GPT4O,
    "tekken": TEKKEN,
    "falcon": FALCON,
    "deepseek-llm": DEEPSEEK_LLM,
    "deepseek-coder": DEEPSEEK_CODER,
    "deepseek-v3 hunyuan-dense": DEEPSEEK_V3,
}
PRE_TOKENIZERS: dict[str, tuple[str, ...]] = {name: cuts for names, cuts in _NAMES.items() for name in names.split()}

_TIKTOKEN_LIKE = ("llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "tekken")
# these look a whole piece up in the vocabulary before they merge
IGNORE_MERGES = frozenset(_TIKTOKEN_LIKE)
# these put the begin-of-sequence token in front where the file does not say
BOS_BY_DEFAULT = frozenset(_TIKTOKEN_LIKE)
# these compose characters (Unicode NFC) before they split, which a GGUF file does not say either
COMPOSES = frozenset({"qwen2", "olmo", "command-r"})


def splitter(splits: tuple[str, ...]) -> PreTokenizer:
    """The pre-tokenizer that cuts a text by ``splits`` and spells its bytes."""
    cuts = [Split(Regex(split), "isolated") for split in splits]
    return Sequence([*cuts, ByteLevel(add_prefix_space=False, use_regex=False)])
