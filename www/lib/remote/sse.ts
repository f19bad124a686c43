/** Server-sent events -> their data (the HTML standard, section 9.2), as far as
 * OpenAI-compatible servers use them. */
export async function* eventData(body: ReadableStream<Uint8Array>): AsyncGenerator<string, void> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  /** A line that has not ended, and whether it may go on with the LF of a CR LF. */
  let rest = "";
  let data: string[] = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      rest += done ? decoder.decode() + "\n" : decoder.decode(value, { stream: true });
      // A CR at the very end may be half of a line's end.
      const held = !done && rest.endsWith("\r") ? "\r" : "";
      const lines = (held ? rest.slice(0, -1) : rest).split(/\r\n|\r|\n/);
      rest = (lines.pop() ?? "") + held;
      for (const line of lines) {
        if (line === "") {
          if (data.length > 0) yield data.join("\n");
          data = [];
        } else if (line.startsWith("data:")) data.push(line.slice(line[5] === " " ? 6 : 5));
      }
      if (!done) continue;
      // Some servers leave out the last empty line.
      if (data.length > 0) yield data.join("\n");
      return;
    }
  } finally {
    await reader.cancel().catch(() => undefined);
  }
}
