// What applications do with Vercel's AI SDK and three of its providers, through a gateway to a replay provider.
//
//     OPENAI_BASE_URL=… OPENAI_API_KEY=… ANTHROPIC_BASE_URL=…/v1 ANTHROPIC_API_KEY=… node vercel_suite.mjs [case …]
//
// prints one JSON object: for each case and provider what the application saw. The case about credits wants a key of its
// own, in BROKE_API_KEY.

import { createAnthropic } from '@ai-sdk/anthropic';
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, generateObject, generateText, isStepCount, streamText, tool } from 'ai';
import { z } from 'zod';

import { replay, runCases } from './cases.mjs';

const { OPENAI_BASE_URL, OPENAI_API_KEY, ANTHROPIC_BASE_URL, ANTHROPIC_API_KEY, BROKE_API_KEY } = process.env;
const City = z.object({ name: z.string(), inhabitants: z.number().int() });

function modelsOf(openaiKey, anthropicKey) {
  const openai = createOpenAI({ baseURL: OPENAI_BASE_URL, apiKey: openaiKey });
  const anthropic = createAnthropic({ baseURL: ANTHROPIC_BASE_URL, apiKey: anthropicKey });
  const compatible = createOpenAICompatible({
    name: 'tollgate',
    baseURL: OPENAI_BASE_URL,
    apiKey: openaiKey,
    includeUsage: true,
    supportsStructuredOutputs: true,
  });
  return { openai: openai.chat('gpt-4o-mini'), anthropic: anthropic('claude-haiku-4-5'), compatible: compatible('gpt-4o-mini') };
}

async function each(models, call) {
  const seen = {};
  for (const [name, model] of Object.entries(models)) seen[name] = await call(model);
  return seen;
}

const cases = {
  async generate_text(models) {
    return each(models, async (model) => {
      const { text, usage, finishReason } = await generateText({ model, prompt: 'What is a toll?' });
      return { text, finishReason, input: usage.inputTokens, output: usage.outputTokens };
    });
  },

  async stream_text(models) {
    return each(models, async (model) => {
      const result = streamText({ model, prompt: 'What is a toll?' });
      const pieces = [];
      for await (const piece of result.textStream) pieces.push(piece);
      const usage = await result.usage;
      return { text: pieces.join(''), pieces: pieces.length, input: usage.inputTokens, output: usage.outputTokens };
    });
  },

  // The model calls, the SDK runs the tool, the model speaks.
  async tools(models) {
    return each(models, async (model) => {
      const asked = [];
      const get_weather = tool({
        description: 'The weather in a city.',
        inputSchema: z.object({ city: z.string() }),
        execute: async ({ city }) => {
          asked.push(city);
          return `It is 18 °C in ${city}.`;
        },
      });
      const prompt = "What is the weather in 'Paris'?";
      const { text, steps } = await generateText({ model, prompt, tools: { get_weather }, stopWhen: isStepCount(3) });
      return { asked, text, steps: steps.length };
    });
  },

  async generate_object(models) {
    return each(models, async (model) => {
      const { object } = await generateObject({ model, schema: City, prompt: "'Lima' has 9751000 inhabitants." });
      return object;
    });
  },

  // 402: trying again cannot help, and the SDK with its usual settings does not.
  async out_of_credits() {
    return each(modelsOf(BROKE_API_KEY, BROKE_API_KEY), (model) =>
      failure(() => generateText({ model, prompt: 'What is a toll?' })),
    );
  },

  // The provider hangs up in mid-stream: that must never look like the end of an answer.
  async stream_breaks(models) {
    return each(models, async (model) => {
      let text = '';
      const errors = [];
      const directions = replay({ output_tokens: 20, break: 5 });
      const result = streamText({ model, prompt: 'Hello.', ...directions, onError: ({ error }) => errors.push(error) });
      for await (const piece of result.textStream) text += piece;
      return { text, errors: errors.map((error) => error.message ?? String(error.error?.message ?? error)) };
    });
  },
};

async function failure(call) {
  try {
    await call();
  } catch (error) {
    if (!APICallError.isInstance(error)) throw error;
    const { name: raised, statusCode: status, isRetryable: retryable, message } = error;
    return { raised, status, retryable, message, code: JSON.parse(error.responseBody).error.code };
  }
  throw new Error('the call succeeded');
}

await runCases(cases, () => modelsOf(OPENAI_API_KEY, ANTHROPIC_API_KEY));
