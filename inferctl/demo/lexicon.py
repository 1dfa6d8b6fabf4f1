"""The words of the sentiment grammar: neutral ones by domain, opinions by domain and polarity."""

from dataclasses import dataclass
from typing import Literal

Polarity = Literal["positive", "negative"]
Opinions = dict[Polarity, tuple[str, ...]]

POLARITIES: tuple[Polarity, ...] = ("negative", "positive")


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _phrases(text: str) -> tuple[str, ...]:
    return tuple(phrase.strip() for phrase in text.split(","))


@dataclass(frozen=True)
class Domain:
    """One thing that people review: what it is called, its parts, and how it can be."""

    things: tuple[str, ...]
    parts: tuple[str, ...]
    adjectives: Opinions


DOMAINS = (
    Domain(
        _words("film movie show series picture documentary sequel thriller comedy drama"),
        _words("acting plot story ending soundtrack cast script pacing dialogue camera direction"),
        {
            "positive": _words(
                "gripping moving hilarious funny touching clever original thrilling"
            ),
            "negative": _words("boring dull predictable silly slow forgettable tedious shallow"),
        },
    ),
    Domain(
        _words("restaurant meal dinner lunch cafe pizzeria breakfast diner bistro takeaway"),
        _words("food soup pasta bread coffee dessert fish menu sauce steak pizza curry salad"),
        {
            "positive": _words("delicious tasty fresh crisp flavourful tender divine hot juicy"),
            "negative": _words(
                "cold bland stale greasy overcooked soggy tasteless burnt raw salty"
            ),
        },
    ),
    Domain(
        _words("phone laptop camera tablet headset printer charger watch speaker gadget device"),
        _words("battery screen keyboard software display case sound microphone cable app design"),
        {
            "positive": _words("fast reliable sturdy bright responsive sleek solid handy sharp"),
            "negative": _words("broken slow flimsy faulty buggy defective unreliable dim clumsy"),
        },
    ),
    Domain(
        _words("hotel hostel apartment resort inn room suite cottage guesthouse place"),
        _words("bed bathroom pool view lobby location shower carpet balcony reception gym"),
        {
            "positive": _words("clean comfortable cosy spacious spotless quiet peaceful charming"),
            "negative": _words("dirty noisy cramped smelly filthy uncomfortable shabby damp grim"),
        },
    ),
    Domain(
        _words("service company shop store bank agency airline garage clinic helpdesk team"),
        _words("staff waiter manager delivery support clerk driver crew doctor agent waitress"),
        {
            "positive": _words(
                "friendly helpful polite prompt kind attentive professional patient"
            ),
            "negative": _words("rude slow unhelpful careless arrogant late incompetent hostile"),
        },
    ),
    Domain(
        _words("book novel album game story concert play course biography song"),
        _words("writing characters prose chapters ending lyrics music opening plot pages cover"),
        {
            "positive": _words("gripping witty beautiful inspiring elegant engaging rich haunting"),
            "negative": _words("dull confusing dreary pretentious repetitive clumsy tedious messy"),
        },
    ),
)

ADJECTIVES: Opinions = {
    "positive": _words(
        "good great wonderful excellent amazing fantastic superb brilliant lovely nice perfect "
        "terrific outstanding awesome delightful impressive marvellous splendid fabulous pleasant "
        "enjoyable magnificent satisfying remarkable stunning incredible exceptional fine decent"
    ),
    "negative": _words(
        "bad terrible awful horrible poor dreadful disappointing mediocre lousy appalling "
        "unpleasant pathetic disgusting useless worthless atrocious annoying horrid abysmal "
        "miserable frustrating ridiculous unbearable ugly weak inferior unacceptable nasty"
    ),
}
COMPARATIVES: Opinions = {
    "positive": _words("better nicer finer greater lovelier"),
    "negative": _words("worse poorer weaker uglier nastier"),
}
SUPERLATIVES: Opinions = {
    "positive": _phrases("best, finest, greatest, nicest, loveliest, most enjoyable"),
    "negative": _phrases("worst, poorest, weakest, ugliest, nastiest, most annoying"),
}
ADVERBS: Opinions = {
    "positive": _words("beautifully perfectly brilliantly nicely wonderfully flawlessly well"),
    "negative": _words("badly terribly poorly horribly awfully dreadfully carelessly"),
}
VERBS_PAST: Opinions = {
    "positive": _words("loved enjoyed adored liked admired appreciated treasured"),
    "negative": _words("hated disliked detested despised loathed regretted resented"),
}
VERBS: Opinions = {
    "positive": _words("love enjoy adore like admire appreciate recommend"),
    "negative": _words("hate dislike detest despise loathe regret resent"),
}
OUTCOMES: Opinions = {
    "positive": _phrases(
        "exceeded my expectations, made me smile, made my day, works like a charm, impressed me, "
        "was worth every penny, was worth the money, was a joy, was a masterpiece, was a treat, "
        "blew me away, won me over, was a pleasure, was a triumph, delighted us, never failed, "
        "was money well spent, works perfectly, was a delight, was a success, pleased everyone"
    ),
    "negative": _phrases(
        "fell apart, broke after a week, let me down, ruined my evening, stopped working, "
        "was a waste of money, was a waste of time, was a disaster, was a mess, was a letdown, "
        "was a disappointment, failed on the first day, put me to sleep, bored me to tears, "
        "annoyed everyone, made me angry, was a nightmare, was a failure, made me sick, crashed"
    ),
}
FEELINGS: Opinions = {
    "positive": _words("smiling laughing happy delighted satisfied impressed pleased thrilled"),
    "negative": _words("angry upset disappointed annoyed bored frustrated unhappy"),
}
VERDICTS: Opinions = {
    "positive": _words("joy pleasure delight masterpiece treat triumph gem success bargain winner"),
    "negative": _words("disaster mess nightmare letdown disappointment failure insult joke scam"),
}
PROMISES: Opinions = {
    "positive": _phrases(
        "would recommend it to anyone, would buy it again, will be back, would happily return, "
        "can not wait to go back, would gladly see it again, am so glad i chose it"
    ),
    "negative": _phrases(
        "want my money back, would not recommend it, will never return, would avoid it, "
        "asked for a refund, would warn everyone, regret every minute, am sorry i chose it"
    ),
}

INTENSIFIERS = _words("very really absolutely so extremely truly incredibly quite totally pretty")
OPENERS = _phrases(
    "i think, in my opinion, to be honest, honestly, i must say, overall, frankly, i feel that, "
    "all in all, i have to say, for me, in the end, as far as i can tell, well, i guess"
)
FILLERS = _phrases(
    "we went there on a monday, i bought it last week, my sister came along, it rained all day, "
    "we were four people, i paid with my card, it was my second time, a colleague had told me, "
    "i got it for my birthday, we stayed for two hours, the parcel came by post, i ordered online, "
    "my brother has one too, it was a tuesday evening, we had read about it, it came in a blue box"
)
TAILS = _phrases(
    "last night, this morning, with my family, after work, on a monday, in june, for two days, "
    "with my kids, at the weekend, as a gift, during our trip, for the second time, last summer"
)
OWNERS = _words("the the the the this that my our their")
SUBJECTS = _words("i we they she he everyone")
PEOPLE = _phrases("my wife, my husband, my kids, the critics, my friends, my mother, our guests")
