"""The sentence patterns of the sentiment grammar, without their words.

In a pattern `<word>` is a slot; a trailing `~` asks for a word of the opposite polarity.
"""

# A clause frame has the polarity that is asked for: negation is already counted in it.
ASSERTED = (
    "<the> <noun> was <very> <adj>",
    "<the> <noun> and <the> <part> were <very> <adj>",
    "it was <very> <adj>",
    "<who> <verbed> <the> <noun>",
    "<who> really <verbed> it",
    "<people> <verbed> <the> <thing>",
    "i <verb> <the> <thing>",
    "i <verb> everything about <the> <thing>",
    "i <verb> buying <the> <thing>",
    "<the> <thing> <outcome>",
    "<the> <part> <outcome>",
    "it <outcome>",
    "i <promise>",
    "<the> <thing> left me <feeling>",
    "i was <very> <feeling> with <the> <noun>",
    "we were <feeling>",
    "<the> <part> was done <adverb>",
    "it was a <verdict>",
    "it was the <best> <thing> i have ever had",
    "this is one of the <best> <thing> of the year",
    "<the> <part> was <better> than i expected",
    "<the> <part> was <adj> and <the> <part> was <adj>",
    "everything about <the> <thing> was <adj>",
)
FRAGMENTS = (
    "<very> <adj>",
    "<adj> <noun>",
    "<very> <adj> <noun>",
    "<adj>, <adj> and <adj>",
    "<adj> <part> and <adj> <part>",
    "<adj> <part>, <adj> <part>",
    "a <very> <adj> <thing> with <adj> <part>",
    "a real <verdict>",
    "what a <verdict>",
    "<best> <thing> of the year",
    "<better> than the old <thing>",
    "<adj>, just <adj>",
)
NEGATED = (
    "<the> <noun> was not <adj~>",
    "<the> <noun> was not <very> <adj~>",
    "<the> <noun> was not <adj~> at all",
    "it was not <adj~>",
    "not <adj~> at all",
    "not a <adj~> <thing>",
    "<the> <noun> was never <adj~>",
    "<the> <noun> was hardly <adj~>",
    "<the> <noun> was far from <adj~>",
    "<the> <noun> was anything but <adj~>",
    "there was nothing <adj~> about <the> <noun>",
    "nothing <adj~> to say about it",
    "<who> did not <verb~> <the> <noun>",
    "<who> did not <verb~> it",
    "i would not call <the> <noun> <adj~>",
    "<the> <thing> was not a <verdict~>",
    "i was not <feeling~>",
    "it was not what i would call <adj~>",
    "<the> <part> was not done <adverb~>",
    "neither of us <verbed~> it",
    "<who> rarely <verbed~> <the> <noun>",
    "no <adj~> <part>, no <adj~> <part>",
    "<the> <part> could not have been <better>",
    "nobody <verbed~> <the> <thing>",
    "i have never seen a <better> <thing>",
    "<the> <noun> was not <adj~> but <adj>",
    "i expected a <adj~> <thing> and got a <adj> one",
    "i wanted to <verb~> it but it was <adj>",
    "<people> said it was <adj~> and they were wrong",
    "<the> <adj~> <part> did not stop it from being <adj>",
)
# Sentences with one of these are never seen in training.
TEST_ONLY = (
    "<the> <noun> turned out to be <adj>",
    "what a <adj> <thing>",
    "<the> <noun> seemed <very> <adj> to <people>",
    "<who> found <the> <noun> <very> <adj>",
    "such a <verdict>",
    "rarely was <the> <noun> <adj~>",
    "<people> did not find it <adj~>",
    "neither <the> <part> nor <the> <part> was <adj~>",
    "<the> <noun> was not as <adj~> as they say",
    "<who> never <verbed~> <the> <noun>",
)

# A shape joins clauses: {a}, {b} and {c} agree with the sentence's label, {z} opposes it.
BARE = "{a}"
SINGLES = (
    BARE,
    BARE,
    "<opener> {a}",
    "<opener>, {a}",
    "{a} <tail>",
    "<filler> and {a}",
    "<filler>, {a}",
    "{a}. <filler>",
    "<filler>. <filler>. {a}",
    "{a}, <opener>",
)
CONTRASTS = (
    "{z} but {a}",
    "{z}, but {a}",
    "{z}, however {a}",
    "although {z}, {a}",
    "even though {z}, {a}",
    "{a} although {z}",
    "{a}, even if {z}",
    "{z}. still, {a}",
    "<filler>, {z}, but {a}",
    "{a}. {z} but {b}",
)
AGREEMENTS = (
    "{a} and {b}",
    "{a}, {b}",
    "{a}. {b}",
    "{a}. <filler>. {b}",
    "<opener> {a} and {b}",
    "{a} because {b}",
    "{a}. {b}. {c}",
    "<filler> and {a}. {b} and {c}",
)
# A denial turns an asserted clause round.
DENIALS = (
    "i do not think {z}",
    "i do not think that {z}",
    "it is not true that {z}",
    "nobody can say that {z}",
)
