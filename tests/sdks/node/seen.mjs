// What an application saw of a call, as plain values that can be printed and compared.

import OpenAI from 'openai';

export function completionSeen(completion) {
  return {
    id: completion.id,
    request_id: completion._request_id ?? null,
    model: completion.model,
    choices: completion.choices.map(({ message, finish_reason }) => ({
      content: message.content,
      finish_reason,
      tool_calls: (message.tool_calls ?? []).map((call) => ({
        name: call.function.name,
        arguments: JSON.parse(call.function.arguments),
      })),
    })),
    usage: completion.usage ?? null,
  };
}

export async function chunksSeen(chunks) {
  const choices = [];
  const usages = [];
  const ids = new Set();
  let withoutChoices = 0;
  for await (const chunk of chunks) {
    ids.add(chunk.id);
    if (chunk.choices.length === 0) withoutChoices += 1;
    if (chunk.usage) usages.push(chunk.usage);
    for (const { index, delta, finish_reason } of chunk.choices) {
      const seen = (choices[index] ??= { content: '', finish_reason: null, tool_calls: [] });
      seen.content += delta.content ?? '';
      seen.finish_reason = finish_reason ?? seen.finish_reason;
      for (const part of delta.tool_calls ?? []) {
        const call = (seen.tool_calls[part.index] ??= { name: '', arguments: '' });
        call.name += part.function?.name ?? '';
        call.arguments += part.function?.arguments ?? '';
      }
    }
  }
  for (const call of choices.flatMap((choice) => choice.tool_calls)) call.arguments = JSON.parse(call.arguments);
  return { ids: [...ids].sort(), choices, usages, chunks_without_choices: withoutChoices };
}

export async function failure(call) {
  try {
    await call();
  } catch (error) {
    if (!(error instanceof OpenAI.APIError)) throw error;
    return {
      raised: error.constructor.name,
      status: error.status ?? null,
      request_id: error.requestID ?? null,
      code: error.code ?? null,
      type: error.type ?? null,
      param: error.param ?? null,
      message: error.error?.message ?? error.message,
      metadata: error.error?.metadata ?? null,
    };
  }
  throw new Error('the call succeeded');
}

export function tollgateHeaders(response) {
  return Object.fromEntries([...response.headers].filter(([name]) => /^x-(request-id|tollgate-)/.test(name)));
}
