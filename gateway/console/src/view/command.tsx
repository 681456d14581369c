// A command to copy.
import { useState } from "preact/hooks";
import { useStore } from "./use-store.ts";

export function Command({ text }: { readonly text: string }) {
  const { say } = useStore();
  const [copied, setCopied] = useState("");
  const copy = async (): Promise<void> => {
    try {
      await navigator.clipboard.writeText(text);
      setCopied(text);
      say("The command is copied");
    } catch {
      say("The browser does not let this page copy; select the command instead");
    }
  };
  return (
    <div class="command">
      <code>{text}</code>
      <button type="button" class="small" onClick={() => void copy()} aria-label={`Copy the command: ${text}`}>
        {copied === text ? "Copied" : "Copy"}
      </button>
    </div>
  );
}
