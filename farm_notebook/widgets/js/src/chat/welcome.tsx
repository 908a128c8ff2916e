/** What a conversation shows in which nothing was said yet. */

import { Icon } from "./icons";

const EXAMPLES = [
  { title: "Explain a formula", prompt: "Explain the softmax function with its formula, and when it is unstable." },
  { title: "Write a function", prompt: "Write a Python function that finds the outliers of a pandas column, with an example." },
  { title: "Compare in a table", prompt: "Compare Parquet, CSV and SQLite for a table of 10 million rows, as a table." },
  { title: "Read a picture", prompt: "What does this plot show, and what would make it clearer?" },
];

export function Welcome({ onChoose }: { onChoose: (prompt: string) => void }) {
  return (
    <div class="farm-welcome">
      <Icon name="chat" />
      <h3>What shall we look at?</h3>
      <p class="farm-chat-muted">Cells with %%farm_chat go on with the same conversation. Paste or drop pictures to ask about them.</p>
      <ul aria-label="Examples">
        {EXAMPLES.map(({ title, prompt }) => (
          <li key={title}>
            <button type="button" class="farm-example" onClick={() => onChoose(prompt)}>
              <strong>{title}</strong>
              <span>{prompt}</span>
            </button>
          </li>
        ))}
      </ul>
    </div>
  );
}
