// What applications do with the `openai` package for Node.js, through a gateway to a replay provider.
//
//     OPENAI_BASE_URL=… OPENAI_API_KEY=… node suite.mjs [case …]
//
// prints one JSON object: for each case what the application saw. The `x-replay-…` headers direct the replay provider;
// an application of yours sends none. Cases about credits want a key of their own, in the environment variable they name.

import OpenAI from 'openai';
import { VERSION } from 'openai/version';

import { replay, runCases } from './cases.mjs';
import { chunksSeen, completionSeen, failure, tollgateHeaders } from './seen.mjs';

const MODEL = 'gpt-4o-mini';
const GREETING = [{ role: 'user', content: 'Say hello.' }];
const PIXEL =
  'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
const TOOLS = Object.entries({ get_weather: 'Paris', get_time: 'Lima' }).map(([name, city]) => ({
  type: 'function',
  function: {
    name,
    parameters: { type: 'object', properties: { city: { type: 'string', enum: [city] } }, required: ['city'] },
  },
}));

const cases = {
  // --- answers -------------------------------------------------------------------------------------------------------

  async chat(client) {
    return completionSeen(await client.chat.completions.create({ model: MODEL, messages: GREETING }));
  },

  // Usage was not asked for, so none may be in the stream.
  async stream(client) {
    return chunksSeen(await client.chat.completions.create({ model: MODEL, messages: GREETING, stream: true }));
  },

  async stream_with_usage(client) {
    const chunks = await client.chat.completions.create({
      model: MODEL,
      messages: GREETING,
      stream: true,
      stream_options: { include_usage: true },
    });
    return chunksSeen(chunks);
  },

  // The SDK's own accumulator.
  async stream_helper(client) {
    const events = client.chat.completions.stream({ model: MODEL, messages: GREETING });
    let pieces = '';
    events.on('content', (delta) => (pieces += delta));
    return { ...completionSeen(await events.finalChatCompletion()), pieces_join: pieces };
  },

  // The whole conversation: the model calls, the application answers, the model speaks.
  async tool_call(client) {
    const messages = [{ role: 'user', content: 'What is the weather in Paris?' }];
    const asked = await client.chat.completions.create({ model: MODEL, messages, tools: TOOLS });
    const message = asked.choices[0].message;
    const results = message.tool_calls.map((call) => ({ role: 'tool', tool_call_id: call.id, content: '18 °C' }));
    const answered = await client.chat.completions.create({
      model: MODEL,
      messages: [...messages, message, ...results],
      tools: TOOLS,
    });
    return { asked: completionSeen(asked), answered: completionSeen(answered) };
  },

  async parallel_tool_calls(client) {
    return completionSeen(
      await client.chat.completions.create(
        { model: MODEL, messages: GREETING, tools: TOOLS, parallel_tool_calls: true },
        replay({ tool_calls: 2 }),
      ),
    );
  },

  async stream_tool_call(client) {
    return chunksSeen(
      await client.chat.completions.create({ model: MODEL, messages: GREETING, tools: TOOLS, stream: true }),
    );
  },

  async stream_parallel_tool_calls(client) {
    return chunksSeen(
      await client.chat.completions.create(
        { model: MODEL, messages: GREETING, tools: TOOLS, stream: true },
        replay({ tool_calls: 2 }),
      ),
    );
  },

  async json_mode(client) {
    return completionSeen(
      await client.chat.completions.create({
        model: MODEL,
        messages: [{ role: 'user', content: 'Answer in JSON.' }],
        response_format: { type: 'json_object' },
      }),
    );
  },

  async json_schema(client) {
    const schema = {
      type: 'object',
      properties: { name: { type: 'string' }, inhabitants: { type: 'integer' } },
      required: ['name', 'inhabitants'],
      additionalProperties: false,
    };
    const answer = await client.chat.completions.create({
      model: MODEL,
      messages: GREETING,
      response_format: { type: 'json_schema', json_schema: { name: 'City', schema, strict: true } },
    });
    return { ...completionSeen(answer), parsed: JSON.parse(answer.choices[0].message.content) };
  },

  async image_in_the_body(client) {
    return lookAt(client, `data:image/png;base64,${PIXEL}`);
  },

  async image_by_address(client) {
    return lookAt(client, 'https://images.example/cat.png');
  },

  async several_choices(client) {
    return completionSeen(await client.chat.completions.create({ model: MODEL, messages: GREETING, n: 3 }));
  },

  async stream_several_choices(client) {
    return chunksSeen(await client.chat.completions.create({ model: MODEL, messages: GREETING, n: 3, stream: true }));
  },

  // What a call cost is in the headers of its answer.
  async raw_response(client) {
    const { data, response } = await client.chat.completions
      .create({ model: MODEL, messages: GREETING, max_tokens: 100 })
      .withResponse();
    return { ...completionSeen(data), headers: tollgateHeaders(response) };
  },

  // A stream's cost is not known when its headers are sent; the generation endpoint has it afterwards.
  async stream_raw_response(client) {
    const { data, response } = await client.chat.completions
      .create({ model: MODEL, messages: GREETING, max_tokens: 100, stream: true })
      .withResponse();
    const seen = await chunksSeen(data);
    const headers = tollgateHeaders(response);
    const generation = await client.get(`/generation?id=${headers['x-request-id']}`);
    return { ...seen, headers, generation: generation.data };
  },

  async credits_left(client) {
    return (await client.get('/credits')).data;
  },

  async models(client) {
    const listed = [];
    for await (const model of client.models.list()) listed.push(model);
    return {
      ids: listed.map((model) => model.id),
      objects: [...new Set(listed.map((model) => model.object))],
      retrieved: await client.models.retrieve(MODEL),
      unknown: await failure(() => client.models.retrieve('no-such-model')),
    };
  },

  // --- errors --------------------------------------------------------------------------------------------------------

  async wrong_key(client) {
    return failure(() => client.withOptions({ apiKey: 'tg-not-a-key' }).models.list());
  },

  async suspended_org(client) {
    const theirs = client.withOptions({ apiKey: process.env.SUSPENDED_API_KEY });
    return failure(() => theirs.chat.completions.create({ model: MODEL, messages: GREETING }));
  },

  async unknown_model(client) {
    return failure(() => client.chat.completions.create({ model: 'no-such-model', messages: GREETING }));
  },

  async malformed(client) {
    return failure(() => client.chat.completions.create({ model: MODEL, messages: [] }));
  },

  // What a provider answers is what the application gets: the SDK's exception for each status.
  async upstream_status(client) {
    const seen = {};
    for (const status of [400, 404, 409, 413, 422, 429, 500, 503]) {
      seen[status] = await failure(() =>
        client.chat.completions.create({ model: MODEL, messages: GREETING }, { ...replay({ status }), maxRetries: 0 }),
      );
    }
    return seen;
  },

  // The gateway's own credential is no business of the application's.
  async upstream_refuses_the_operator(client) {
    return failure(() =>
      client.chat.completions.create(
        { model: MODEL, messages: GREETING },
        { ...replay({ status: 401 }), maxRetries: 0 },
      ),
    );
  },

  async no_answer_in_time(client) {
    return failure(() =>
      client.chat.completions.create(
        { model: MODEL, messages: GREETING, stream: true },
        { ...replay({ hang: 0, hang_at: 'headers' }), timeout: 500, maxRetries: 0 },
      ),
    );
  },

  async unreachable(client) {
    const lost = client.withOptions({ baseURL: process.env.UNREACHABLE_URL, maxRetries: 0 });
    return failure(() => lost.chat.completions.create({ model: MODEL, messages: GREETING }));
  },

  // The provider sends an error event after its 200.
  async error_in_the_stream(client) {
    return brokenStream(client, replay({ output_tokens: 20, error_event: 5 }));
  },

  // The provider hangs up in mid-stream: that must never look like the end of an answer.
  async stream_breaks(client) {
    return brokenStream(client, replay({ output_tokens: 20, break: 5 }));
  },

  // --- credits -------------------------------------------------------------------------------------------------------

  // 402 insufficient_credits: retrying cannot help, and the SDK with its usual settings does not.
  async out_of_credits(client) {
    const broke = client.withOptions({ apiKey: process.env.BROKE_API_KEY });
    return failure(() => broke.chat.completions.create({ model: MODEL, messages: GREETING }));
  },

  async credits_end_in_the_stream(client) {
    const thin = client.withOptions({ apiKey: process.env.THIN_API_KEY });
    return brokenStream(thin, replay({ output_tokens: 4000 }), { stream_options: { include_usage: true } });
  },

  // 402 credits_reserved: another call holds the credits for as long as this one is tried.
  async busy(client) {
    const ours = client.withOptions({ apiKey: process.env.BUSY_API_KEY, maxRetries: 1 });
    const other = await heldOpen(ours);
    try {
      return await failure(() =>
        ours.chat.completions.create({ model: MODEL, messages: GREETING, max_tokens: 1000 }),
      );
    } finally {
      other.controller.abort();
    }
  },

  // 402 credits_reserved: the first refusal makes this application end its other call; then the retry succeeds.
  async busy_until_a_call_ends(client) {
    let refused = 0;
    let requests = 0;
    const endTheOther = async (url, options) => {
      const response = await fetch(url, options);
      requests += 1;
      if (response.status === 402) {
        refused += 1;
        other.controller.abort();
      }
      return response;
    };
    const ours = client.withOptions({ apiKey: process.env.BUSY_API_KEY, maxRetries: 5 });
    const other = await heldOpen(ours);
    try {
      const answer = await ours
        .withOptions({ fetch: endTheOther })
        .chat.completions.create({ model: MODEL, messages: GREETING, max_tokens: 1000 });
      return { ...completionSeen(answer), refused, retries: requests - 1 };
    } finally {
      other.controller.abort();
    }
  },

  // 429 with retry-after: the SDK waits that long before it tries again.
  async rate_limited(client) {
    return failure(() =>
      client.chat.completions.create(
        { model: MODEL, messages: GREETING },
        { ...replay({ status: 429, retry_after: 1 }), maxRetries: 1 },
      ),
    );
  },

  async upstream_down(client) {
    return failure(() =>
      client.chat.completions.create(
        { model: MODEL, messages: GREETING },
        { ...replay({ status: 500 }), maxRetries: 1 },
      ),
    );
  },
};

async function lookAt(client, url) {
  const content = [
    { type: 'text', text: 'What is this?' },
    { type: 'image_url', image_url: { url } },
  ];
  const { data, response } = await client.chat.completions
    .create({ model: MODEL, messages: [{ role: 'user', content }], max_tokens: 300 })
    .withResponse();
  return { ...completionSeen(data), headers: tollgateHeaders(response) };
}

async function brokenStream(client, headers, options = {}) {
  const received = [];
  const error = await failure(async () => {
    const chunks = await client.chat.completions.create(
      { model: MODEL, messages: GREETING, stream: true, ...options },
      headers,
    );
    for await (const chunk of chunks) received.push(chunk);
  });
  return { ...(await chunksSeen(received)), error };
}

// A stream that has begun and does not go on: its credits stay reserved.
async function heldOpen(client) {
  const chunks = await client.chat.completions.create(
    { model: MODEL, messages: GREETING, max_tokens: 1000, stream: true },
    replay({ output_tokens: 9, hang: 3 }),
  );
  const [other, read] = chunks.tee();
  await read[Symbol.asyncIterator]().next();
  return other;
}

const client = new OpenAI();
await runCases(cases, (name) => client.withOptions({ defaultHeaders: { 'x-case': name } }), VERSION);
