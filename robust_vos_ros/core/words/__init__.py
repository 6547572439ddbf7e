"""Words as prompts, after SAMWISE.

text         expressions to embeddings, with `transformer` (the networks) and `verbs`
module       `Words`, all that is trained: `adapter`, prompts, `conditional_memory`, judgement
files        its weights
finding      things in an image that fit an expression
finder       `WordFinder`, loaded when first asked
searching    searches that last, and prompts that are words
"""
