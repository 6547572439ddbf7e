"""Words as prompts, after SAMWISE.

text         expressions to embeddings; `transformer` evaluates the text networks
module       `Words`, all that is trained: `adapter`, prompts, judgement
finding      things in an image that fit an expression
finder       `WordFinder` and its weights, loaded when first asked
search       `Search` by words, and what it finds
looking      `Looker`: looks at a frame of a stream for what fits
searching    `Searches` that last
tracking     `WordTracking`: what a tracker does by words
"""
