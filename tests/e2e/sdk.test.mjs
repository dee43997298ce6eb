// The official TypeScript client against the built gateway; started by test_typescript_sdk.py, which sets
// GATEWAY_URL and SIMULATOR_URL.
import assert from "node:assert/strict";
import { test } from "node:test";
import Anthropic from "@anthropic-ai/sdk";

const { GATEWAY_URL, SIMULATOR_URL } = process.env;
const CLAUDE = "claude-opus-4-6-thinking";
const GEMINI = "gemini-3-flash";
const PLAIN = "claude-sonnet-4-6";
const MODELS = [PLAIN, CLAUDE, GEMINI];
const client = new Anthropic({ baseURL: GATEWAY_URL, apiKey: "test-key", maxRetries: 0 });
const text = (message) =>
  message.content
    .filter((block) => block.type === "text")
    .map((block) => block.text)
    .join("");

const WEATHER = {
  name: "get_weather",
  description: "Current weather in a city",
  input_schema: { type: "object", properties: { city: { type: "string" } }, required: ["city"] },
};
const PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAAAAAA6fptVAAAACklEQVR4nGNoAAAAggCB3UNq9AAAAABJRU5ErkJggg==";
const PDF = Buffer.from("%PDF-1.4\n1 0 obj<</Type/Catalog>>endobj\ntrailer<</Root 1 0 R>>\n%%EOF\n").toString(
  "base64",
);

for (const model of MODELS) {
  test(`create: ${model}`, async () => {
    const message = await client.messages.create({
      model,
      max_tokens: 2000,
      messages: [{ role: "user", content: "Say hello to the gateway" }],
    });
    assert.equal(message.stop_reason, "end_turn");
    assert.ok(text(message).length > 0);
    assert.ok(message.usage.input_tokens > 0);
  });

  test(`stream with helpers: ${model}`, async () => {
    const stream = client.messages.stream({
      model,
      max_tokens: 2000,
      messages: [{ role: "user", content: "Say hello in a stream" }],
    });
    let streamed = "";
    stream.on("text", (delta) => (streamed += delta));
    const final = await stream.finalMessage();
    assert.equal(streamed, text(final));
    assert.ok(streamed.length > 0);
  });

  test(`tool loop: ${model}`, async () => {
    const messages = [{ role: "user", content: 'tool:get_weather {"city":"Oslo"}' }];
    const ask = () =>
      client.messages.stream({ model, max_tokens: 4000, tools: [WEATHER], messages }).finalMessage();
    const first = await ask();
    assert.equal(first.stop_reason, "tool_use");
    const call = first.content.find((block) => block.type === "tool_use");
    assert.deepEqual(call.input, { city: "Oslo" });
    messages.push(
      { role: "assistant", content: first.content },
      { role: "user", content: [{ type: "tool_result", tool_use_id: call.id, content: "7 degrees, rain" }] },
    );
    const second = await ask();
    assert.equal(second.stop_reason, "end_turn");
    assert.match(text(second), /7 degrees/);
  });

  test(`image and document: ${model}`, async () => {
    const base64 = (media_type, data) => ({ type: "base64", media_type, data });
    const message = await client.messages.create({
      model,
      max_tokens: 2000,
      messages: [
        {
          role: "user",
          content: [
            { type: "image", source: base64("image/png", PNG) },
            { type: "document", source: base64("application/pdf", PDF) },
            { type: "text", text: "What do you see?" },
          ],
        },
      ],
    });
    assert.match(text(message), /image\/png, application\/pdf/);
  });
}

test("thinking comes with a signature and is taken back", async () => {
  const messages = [{ role: "user", content: "think about prime numbers" }];
  const ask = () =>
    client.messages.create({
      model: CLAUDE,
      max_tokens: 8000,
      thinking: { type: "enabled", budget_tokens: 2000 },
      messages,
    });
  const first = await ask();
  const thought = first.content.find((block) => block.type === "thinking");
  assert.ok(thought.signature.length >= 50);
  messages.push({ role: "assistant", content: first.content }, { role: "user", content: "and now?" });
  assert.ok((await ask()).content.length > 0);
});

test("errors are the client's own classes", async () => {
  const wrong = new Anthropic({ baseURL: GATEWAY_URL, apiKey: "wrong", maxRetries: 0 });
  const body = { model: PLAIN, max_tokens: 10, messages: [{ role: "user", content: "x" }] };
  await assert.rejects(wrong.messages.create(body), Anthropic.AuthenticationError);
  await assert.rejects(
    client.messages.create({ ...body, messages: [{ role: "user", content: 3 }] }),
    (error) => {
      assert.ok(error instanceof Anthropic.BadRequestError);
      assert.match(error.message, /messages/);
      return true;
    },
  );
  await assert.rejects(client.models.retrieve("no-such-model"), Anthropic.NotFoundError);
});

test("aborting in mid-stream closes the upstream connection within a second", async () => {
  const simulator = async (path, init) => {
    const answer = await fetch(`${SIMULATOR_URL}${path}`, init);
    assert.ok(answer.ok, `${path}: ${answer.status}`);
    return answer.status === 204 ? null : answer.json();
  };
  const content = "write 900 words slowly";
  const delivery = { mode: "paced", interval_ms: 100, chunk_chars: 10 };
  await simulator("/sim/faults", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ when: { text: content }, then: { delivery } }),
  });
  try {
    const { disconnects } = await simulator("/sim/connections");
    const stream = client.messages.stream({
      model: PLAIN,
      max_tokens: 8000,
      messages: [{ role: "user", content }],
    });
    await new Promise((resolve) => stream.once("text", resolve));
    const aborted = performance.now();
    stream.abort();
    await assert.rejects(stream.finalMessage(), Anthropic.APIUserAbortError);
    await simulator(`/sim/wait?event=disconnect&at_least=${disconnects + 1}&timeout_ms=5000`);
    assert.ok(performance.now() - aborted < 1000);
  } finally {
    await simulator("/sim/faults", { method: "DELETE" });
  }
});
