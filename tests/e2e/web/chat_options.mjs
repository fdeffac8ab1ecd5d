// The options of a `Chat` or of `useChat` for a test: what the test asks for, and what the client told is collected.
import {
  DefaultChatTransport,
  TextStreamChatTransport,
  lastAssistantMessageIsCompleteWithApprovalResponses,
  lastAssistantMessageIsCompleteWithToolCalls,
} from "ai";

// `answers`: what the browser's own tools return, by name. `automatic`: "approvals" or "outputs". `latest`: whether the
// new message is sent alone. `told` gets what the callbacks got, and the statuses of the responses.
export function chatOptions({ address, id, messages = [], api = "/api/chat", transport, answers = {}, automatic, latest }, told, chat) {
  const Transport = transport === "text" ? TextStreamChatTransport : DefaultChatTransport;
  const tell = (name, value) => {
    told[name].push(value);
    told.changed?.();
  };
  const watched = async (...request) => {
    const response = await fetch(...request);
    tell("statuses", response.status);
    return response;
  };
  const alone = { prepareSendMessagesRequest: ({ id, messages, trigger, messageId }) => ({
    body: { id, message: messages.at(-1), trigger, messageId },
  }) };
  const whole = {
    approvals: lastAssistantMessageIsCompleteWithApprovalResponses,
    outputs: lastAssistantMessageIsCompleteWithToolCalls,
  }[automatic];
  return {
    id,
    messages,
    transport: new Transport({ api: address + api, fetch: watched, ...(latest ? alone : {}) }),
    ...(whole ? { sendAutomaticallyWhen: whole } : {}),
    onData: (part) => tell("data", part),
    onToolCall: ({ toolCall }) => {
      const { toolName: tool, toolCallId } = toolCall;
      tell("calls", tool);
      // Not awaited: the client would wait for itself.
      if (tool in answers) void chat().addToolOutput({ tool, toolCallId, output: answers[tool] });
    },
    onFinish: ({ isAbort, isDisconnect, isError, finishReason }) =>
      tell("finished", { isAbort, isDisconnect, isError, finishReason: finishReason ?? null }),
    onError: () => {},
  };
}

export const nothingTold = () => ({ statuses: [], data: [], calls: [], finished: [] });

export const snapshotOf = (chat, { changed, ...told }) => ({
  messages: chat.messages,
  status: chat.status,
  error: chat.error?.message ?? null,
  ...told,
});

// The messages of a conversation as the server has them; none of one that it does not know.
export async function history(address, id) {
  const response = await fetch(`${address}/api/chat/${encodeURIComponent(id)}`);
  return response.ok ? await response.json() : null;
}
