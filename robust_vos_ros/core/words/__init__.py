"""Words as prompts.

Modules: `text` (expressions to embeddings), `transformer` (its networks), `verbs`, `adapter`
(features conditioned on words), `conditional_memory`, `module` (all that is trained), `files`,
`finding` (things that match an expression), `looking` (searches that last).
"""
