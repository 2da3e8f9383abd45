"""Asks two servers through OpenAI's own client: one that says TEXT, one whose budget is too small."""

import sys

import openai

address, spender, text = sys.argv[1:]
question = [{"role": "user", "content": "How long may a hand tool be kept?"}]


def client(address):
    return openai.OpenAI(base_url=f"http://{address}/v1", api_key="none", max_retries=0)


librarian = client(address)
assert [model.id for model in librarian.models.list()] == ["librarian", "extractive"]

whole = librarian.chat.completions.create(model="librarian", messages=question)
assert whole.choices[0].message.content == text, whole
assert whole.choices[0].finish_reason == "stop"
assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
assert whole.citations[0]["source"] == "borrowing.md", whole

streamed, citations, usage = "", None, None
for chunk in librarian.chat.completions.create(
    model="librarian", messages=question, stream=True, stream_options={"include_usage": True}
):
    for choice in chunk.choices:
        streamed += choice.delta.content or ""
        if choice.finish_reason:
            citations = chunk.citations
    usage = chunk.usage or usage
assert streamed == text, streamed
assert citations == whole.citations
assert usage.completion_tokens == whole.usage.completion_tokens

cut = librarian.chat.completions.create(model="librarian", messages=question, max_tokens=4)
assert cut.choices[0].finish_reason == "length"

narrowed = librarian.chat.completions.create(
    model="librarian",
    messages=question,
    temperature=0.5,
    top_p=0.9,
    seed=1,
    frequency_penalty=0,
    presence_penalty=0,
    stop=["cheese"],
    logit_bias={"97": -5},
    extra_body={"min_p": 0.5, "sample_top_k": 1, "repetition_penalty": 1.0},
).choices[0]
said = narrowed.message.content
assert text.startswith(said) and "moon" in said and "cheese" not in said, said
assert narrowed.finish_reason == "stop"

try:
    librarian.chat.completions.create(model="gpt-9", messages=question)
    raise SystemExit("a model that is not there answered")
except openai.BadRequestError as error:
    assert "librarian" in str(error), error

try:
    endless = client(spender).chat.completions.create(
        model="client-spender", messages=question, max_tokens=50_000, stream=True
    )
    pieces = sum(1 for _ in endless)
    raise SystemExit(f"the stream ended without an error after {pieces} pieces")
except openai.APIError as error:
    assert "tokens" in str(error), error
