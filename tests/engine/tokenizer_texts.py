"""Texts that tokenizers get wrong, and a corpus small enough to train one in a test."""

from __future__ import annotations

PROSE = (
    "Once upon a time there was a miller who had a mill, a donkey and a cat. The miller's sons didn't agree: "
    "\"We'll sell it,\" said the eldest; the second wouldn't, and the youngest said NOTHING at all. In 1812 they "
    "had 30 coins, in 1857 they'd 1,234.56! What's more, it's hotter – they've “quoted” café prices at 5 °C.\n\n"
    "The cat walked; the cat talked; the cat wore boots, and there were 1000000 reasons (or 12) for that.\n"
)
CODE = "def area(x: float):\n\tif x < 0:\n\t\traise ValueError(f'{x!r}')\n\n    return 3.14159 * x**2  # πr²\r\n"
TEXTS = {
    "empty": "",
    "prose": PROSE,
    "code with tabs": CODE,
    "digits": "0 12 123 1234 12345 1234567 1,000,000 3.14 x2y ½ ² ٣٤٥ Ⅷ",
    "emoji": "I 😀 ❤️ 👩‍👩‍👧 flags 🇩🇪🇫🇷 and 🏳️‍🌈!",
    "chinese, japanese, korean": "你好，世界。2024年 こんにちは、カタカナ 안녕하세요 세계",
    "other scripts": "Привет мир, Γειά σου Κόσμε, שלום עולם, مرحبا بالعالم, नमस्ते दुनिया, สวัสดี",
    "odd unicode": "e\u0301 \u0041\u030a \u212b ﬁ \u00a0nbsp\u2003em\u200bzero\ufeff \U0001d54f \u2028 line",
    "controls": "nul \x00 bell \x07 del \x7f vertical \x0b form \x0c next\x85",
    "leading spaces": "   three before",
    "trailing spaces": "three after   ",
    "one space": " ",
    "many spaces": "a" + " " * 40 + "b  c   d" + "\n" * 5 + "e \n f\n \n",
    "only white space": " \t \n\n \r\n\t",
    "clitics": "I'M you'LL he's they'VE 'tis o'clock 's 'S 'ſ d''d we're'nt",
    "signs": "a+=b; c->d <tag/> $x^2_{i} `tick` ~/path/to/file // [1:2] {} #! @me |x| \\n ... !!!???",
}
