"""Words as prompts, after SAMWISE.

text         expressions to embeddings; `transformer` evaluates the text networks
module       `Words`, all that is trained: `adapter`, prompts, judgement
finding      things in an image that fit an expression
finder       `WordFinder` and its weights, loaded when first asked
searching    searches that last, and prompts that are words
"""
