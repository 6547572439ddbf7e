"""Words as prompts, after SAMWISE.

text         expressions to embeddings; `transformer` evaluates the text networks
verbs        where verbs are, and what is said of a motion
module       `Words`, all that is trained: `adapter`, prompts, judgement
motion       how things move, comparable with what is said of it
finding      things in an image that fit an expression; `evidence` is what they are judged by
finder       `WordFinder` and its weights, loaded when first asked
search       `Search` by words, and what it finds
looking      `Looker`: looks at a frame of a stream for what fits
searching    `Searches` that last
tracking     `WordTracking`: what a tracker does by words
"""
