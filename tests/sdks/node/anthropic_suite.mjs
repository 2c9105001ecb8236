// What applications do with the `@anthropic-ai/sdk` package for Node.js, through a gateway to a replay provider.
//
//     ANTHROPIC_BASE_URL=… ANTHROPIC_API_KEY=… node anthropic_suite.mjs [case …]
//
// prints one JSON object: for each case what the application saw. The `x-replay-…` headers direct the replay provider;
// an application of yours sends none. Cases about credits want a key of their own, in the environment variable they name.

import Anthropic from '@anthropic-ai/sdk';
import { VERSION } from '@anthropic-ai/sdk/version';

import { replay, runCases } from './cases.mjs';

const MODEL = 'claude-haiku-4-5';
const GREETING = [{ role: 'user', content: 'Say hello.' }];
const PIXEL =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const TOOLS = Object.entries({ get_weather: 'Paris', get_time: 'Lima' }).map(([name, city]) => ({
  name,
  input_schema: { type: 'object', properties: { city: { type: 'string', enum: [city] } }, required: ['city'] },
}));

const cases = {
  // --- answers -------------------------------------------------------------------------------------------------------

  async message(client) {
    return messageSeen(await create(client));
  },

  // Event by event.
  async stream(client) {
    const types = [];
    let text = '';
    for await (const event of await create(client, { stream: true })) {
      types.push(event.type);
      if (event.type === 'content_block_delta') text += event.delta.text;
    }
    return { types, text };
  },

  // The SDK's own accumulator.
  async stream_helper(client) {
    const events = client.messages.stream({ model: MODEL, max_tokens: 300, messages: GREETING });
    let pieces = '';
    events.on('text', (delta) => (pieces += delta));
    return { ...messageSeen(await events.finalMessage()), pieces_join: pieces };
  },

  // The key as a token, as agents in terminals send it.
  async bearer() {
    const other = new Anthropic({
      apiKey: null,
      authToken: process.env.ANTHROPIC_API_KEY,
      defaultHeaders: { 'x-case': 'bearer' },
    });
    return messageSeen(await create(other));
  },

  // The whole conversation: the model calls, the application answers, the model speaks.
  async tool_use(client) {
    const asked = await create(client, { tools: TOOLS });
    const results = asked.content
      .filter((block) => block.type === 'tool_use')
      .map((block) => ({ type: 'tool_result', tool_use_id: block.id, content: '18 °C' }));
    const messages = [
      ...GREETING,
      { role: 'assistant', content: asked.content },
      { role: 'user', content: results },
    ];
    return {
      asked: messageSeen(asked),
      answered: messageSeen(await create(client, { tools: TOOLS, messages })),
    };
  },

  async stream_tool_use(client) {
    const asked = { model: MODEL, max_tokens: 300, messages: GREETING, tools: TOOLS };
    return messageSeen(await client.messages.stream(asked, replay({ tool_calls: 2 })).finalMessage());
  },

  async thinking(client) {
    const events = client.messages.stream(
      {
        model: MODEL,
        max_tokens: 3000,
        thinking: { type: 'enabled', budget_tokens: 1024 },
        messages: GREETING,
      },
      replay({ output_tokens: 20, reasoning_tokens: 8, reasoning_text: 'yes' }),
    );
    return messageSeen(await events.finalMessage());
  },

  async image_in_the_body(client) {
    const content = [
      { type: 'image', source: { type: 'base64', media_type: 'image/png', data: PIXEL } },
      { type: 'text', text: 'What is this?' },
    ];
    return messageSeen(await create(client, { messages: [{ role: 'user', content }] }));
  },

  // A system prompt that is kept for an hour.
  async cached(client) {
    const system = [{ type: 'text', text: 'Be brief.', cache_control: { type: 'ephemeral', ttl: '1h' } }];
    const directions = { prompt_tokens: 100, cached_tokens: 30, cache_write_tokens: 50, cache_write_1h_tokens: 40 };
    return messageSeen(await create(client, { system }, replay(directions)));
  },

  // What a call cost is in the headers of its answer.
  async raw_response(client) {
    const { data, response } = await create(client).withResponse();
    const headers = Object.fromEntries([...response.headers].filter(([name]) => /request-id|tollgate/.test(name)));
    return { ...messageSeen(data), headers };
  },

  async count_tokens(client) {
    return client.messages.countTokens({ model: MODEL, messages: GREETING }, replay({ prompt_tokens: 42 }));
  },

  async models(client) {
    const ids = [];
    for await (const model of client.models.list({ limit: 3 })) ids.push(model.id);
    return {
      ids,
      retrieved: (await client.models.retrieve(MODEL)).id,
      unknown: await failure(() => client.models.retrieve('no-such-model')),
    };
  },

  // --- errors --------------------------------------------------------------------------------------------------------

  async wrong_key(client) {
    return failure(() => create(client.withOptions({ apiKey: 'tg-not-a-key' })));
  },

  async unknown_model(client) {
    return failure(() => create(client, { model: 'no-such-model' }));
  },

  async malformed(client) {
    return failure(() => create(client, { messages: [] }));
  },

  // What a provider answers is what the application gets: the SDK's exception for each status.
  async upstream_status(client) {
    const seen = {};
    for (const status of [400, 404, 413, 429, 500, 529]) {
      seen[status] = await failure(() => create(client, {}, { ...replay({ status }), maxRetries: 0 }));
    }
    return seen;
  },

  async upstream_refuses_the_operator(client) {
    return failure(() => create(client, {}, replay({ status: 401 })));
  },

  async error_in_the_stream(client) {
    return brokenStream(client, { error_event: 5 });
  },

  // The provider hangs up in mid-stream: that must never look like the end of an answer.
  async stream_breaks(client) {
    return brokenStream(client, { break: 5 });
  },

  // --- credits -------------------------------------------------------------------------------------------------------

  // 402 billing_error: retrying cannot help, and the SDK with its usual settings does not.
  async out_of_credits(client) {
    return failure(() => create(client.withOptions({ apiKey: process.env.BROKE_API_KEY })));
  },

  // 402 credits_reserved: the first refusal makes this application end its other call; then the retry succeeds.
  async busy_until_a_call_ends(client) {
    let refused = 0;
    const endTheOther = async (url, options) => {
      const response = await fetch(url, options);
      if (response.status === 402) {
        refused += 1;
        other.controller.abort();
      }
      return response;
    };
    const ours = client.withOptions({ apiKey: process.env.BUSY_API_KEY, maxRetries: 5 });
    const other = await create(ours, { max_tokens: 1000, stream: true }, replay({ output_tokens: 9, hang: 3 }));
    const message = await create(ours.withOptions({ fetch: endTheOther }), { max_tokens: 1000 });
    return { ...messageSeen(message), refused };
  },
};

function create(client, options = {}, headers = {}) {
  return client.messages.create({ model: MODEL, max_tokens: 300, messages: GREETING, ...options }, headers);
}

async function brokenStream(client, directions) {
  let text = '';
  const error = await failure(async () => {
    for await (const event of await create(client, { stream: true }, replay({ output_tokens: 20, ...directions }))) {
      if (event.type === 'content_block_delta') text += event.delta.text;
    }
  });
  return { text, error };
}

function messageSeen(message) {
  const joined = (type) =>
    message.content
      .filter((block) => block.type === type)
      .map((block) => block[type])
      .join('');
  return {
    id: message.id,
    request_id: message._request_id ?? null,
    stop_reason: message.stop_reason,
    text: joined('text'),
    thinking: joined('thinking'),
    tools: message.content.flatMap(({ type, name, input }) => (type === 'tool_use' ? [{ name, input }] : [])),
    usage: message.usage,
  };
}

async function failure(call) {
  try {
    await call();
  } catch (error) {
    if (!(error instanceof Anthropic.APIError)) throw error;
    const told = error.error?.error ?? {};
    return {
      raised: error.constructor.name,
      status: error.status ?? null,
      request_id: error.requestID ?? null,
      type: told.type ?? null,
      code: told.code ?? null,
      message: told.message ?? error.message,
      metadata: told.metadata ?? null,
    };
  }
  throw new Error('the call succeeded');
}

const client = new Anthropic();
await runCases(cases, (name) => client.withOptions({ defaultHeaders: { 'x-case': name } }), VERSION);
