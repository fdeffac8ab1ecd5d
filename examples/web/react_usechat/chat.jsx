// A chat with useChat of the AI SDK, against chat_blueprint: streams, stops, goes on after a reload, asks for approval.
import { useChat } from "@ai-sdk/react";
import { lastAssistantMessageIsCompleteWithApprovalResponses } from "ai";
import { useState } from "react";
import { createRoot } from "react-dom/client";

function Part({ part, decide }) {
  if (part.type === "text") return <p style={{ whiteSpace: "pre-wrap" }}>{part.text}</p>;
  if (!part.toolCallId) return null;
  const call = `${part.type.replace("tool-", "")}(${JSON.stringify(part.input ?? null)})`;
  if (part.state === "approval-requested")
    return (
      <p>
        {call} <button onClick={() => decide(part, true)}>Allow</button>
        <button onClick={() => decide(part, false)}>Deny</button>
      </p>
    );
  const result = part.errorText ?? (part.output === undefined ? part.state : JSON.stringify(part.output));
  return <p>{`${call}: ${result}`}</p>;
}

function Chat({ id, messages }) {
  const chat = useChat({
    id,
    messages,
    resume: true, // asks for a reply that is on its way
    sendAutomaticallyWhen: lastAssistantMessageIsCompleteWithApprovalResponses,
  });
  const [text, setText] = useState("");
  const busy = chat.status === "submitted" || chat.status === "streaming";
  const send = (event) => {
    event.preventDefault();
    chat.sendMessage({ text });
    setText("");
  };
  // Leaving does not stop the reply, so it is not enough to call chat.stop().
  const stop = () => fetch(`/api/chat/${id}/stop`, { method: "POST" });
  const decide = (part, approved) => chat.addToolApprovalResponse({ id: part.approval.id, approved });
  return (
    <>
      {chat.messages.map((message) => (
        <section key={message.id} aria-label={message.role}>
          {message.parts.map((part, at) => (
            <Part key={at} part={part} decide={decide} />
          ))}
        </section>
      ))}
      <p role="status">{chat.error ? chat.error.message : chat.status}</p>
      <form onSubmit={send}>
        <input value={text} onChange={(event) => setText(event.target.value)} aria-label="Message" required />
        <button disabled={busy}>Send</button>
        <button type="button" disabled={!busy} onClick={stop}>
          Stop
        </button>
        <button type="button" disabled={busy || !chat.messages.length} onClick={() => chat.regenerate()}>
          Again
        </button>
      </form>
    </>
  );
}

// The id of the chat is in the address, so that a reload comes back to it. Whoever knows it may read the chat.
if (!location.hash) location.hash = Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(36)).join("");
const id = location.hash.slice(1);
const response = await fetch(`/api/chat/${id}`);
const messages = response.ok ? (await response.json()).messages : [];
createRoot(document.querySelector("main")).render(<Chat id={id} messages={messages} />);
