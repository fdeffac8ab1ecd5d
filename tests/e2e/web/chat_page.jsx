// A page of `useChat`, whose options are in the fragment of its address. A test drives it by `window.chat`, and reads
// `window.snapshot`, which is what was rendered last.
import { useChat, useCompletion } from "@ai-sdk/react";
import { useEffect, useState } from "react";
import { createRoot } from "react-dom/client";
import { chatOptions, history, nothingTold, snapshotOf } from "./chat_options.mjs";

const given = JSON.parse(decodeURIComponent(location.hash.slice(1)));
const address = location.origin;
const told = nothingTold();
const show = (get) => Object.defineProperty(window, "snapshot", { configurable: true, get });

const Part = ({ part }) => {
  if (part.type === "text") return <p>{part.text}</p>;
  if (part.type === "reasoning") return <i>{part.text}</i>;
  if (!part.toolCallId) return null;
  return <code>{`${part.type} ${part.state} ${JSON.stringify(part.output ?? part.errorText ?? null)}`}</code>;
};

function Conversation({ messages }) {
  const options = chatOptions({ ...given, address, messages }, told, () => window.chat);
  const chat = useChat({ ...options, resume: given.resume });
  useEffect(() => {
    window.chat = chat;
    show(() => snapshotOf(chat, told));
  });
  return (
    <main>
      {chat.messages.map((message) => (
        <article key={message.id} data-role={message.role}>
          {message.parts.map((part, at) => <Part key={at} part={part} />)}
        </article>
      ))}
      <output>{chat.error ? `${chat.status}: ${chat.error.message}` : chat.status}</output>
    </main>
  );
}

// With `history` the messages are asked for first, as a page does that was opened again.
function FromHistory() {
  const [known, setKnown] = useState(null);
  useEffect(() => void history(address, given.id).then((found) => setKnown(found?.messages ?? [])), []);
  return known === null ? null : <Conversation messages={known} />;
}

function Completion() {
  const asked = useCompletion({ api: address + given.api, streamProtocol: given.completion });
  useEffect(() => {
    window.chat = asked;
    show(() => ({ text: asked.completion, loading: asked.isLoading, error: asked.error?.message ?? null }));
  });
  return <main>{asked.completion}</main>;
}

const App = given.completion ? Completion : given.history ? FromHistory : () => <Conversation messages={given.messages} />;
createRoot(document.body.appendChild(document.createElement("div"))).render(<App />);
