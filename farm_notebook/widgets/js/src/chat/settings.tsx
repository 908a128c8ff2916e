/** What is said of every question: a system prompt and the sampling. */

import { useLayoutEffect, useRef } from "preact/hooks";
import { Button, ErrorNote, useAction } from "../base";
import type { ChatHost, Settings } from "./state";

const NUMBERS = [
  { name: "temperature", label: "Temperature", hint: "0 is greedy, above 1 is wild", min: 0, step: "any" },
  { name: "top_p", label: "Top p", hint: "above 0, at most 1", min: 0, step: "any" },
  { name: "max_tokens", label: "Longest answer", hint: "in tokens", min: 1, step: "1" },
  { name: "seed", label: "Seed", hint: "for repeatable answers", min: 0, step: "1" },
] as const;

/** How many of them are set. */
export function settingsCount(settings: Settings | undefined): number {
  return Object.values(settings ?? {}).filter((value) => value !== null).length;
}

interface FormProps {
  host: ChatHost;
  settings: Settings;
  close: () => void;
}

export function SettingsForm({ host, settings, close }: FormProps) {
  const form = useRef<HTMLFormElement>(null);
  const save = useAction(async () => {
    if (!form.current) return;
    await host.call("settings", { ...valuesOf(new FormData(form.current)) });
    close();
  });
  useLayoutEffect(() => form.current?.querySelector("textarea")?.focus(), []);
  return (
    <form
      class="farm-settings"
      ref={form}
      aria-label="Settings"
      noValidate
      onSubmit={(event) => {
        event.preventDefault();
        save.run();
      }}
    >
      <label class="farm-field">
        <span>System prompt</span>
        <textarea
          class="farm-input"
          name="system"
          rows={4}
          placeholder="Who answers, and how: “You are a patient statistician…”"
          defaultValue={settings.system ?? ""}
        />
      </label>
      <div class="farm-settings-numbers">
        {NUMBERS.map(({ name, label, hint, min, step }) => (
          <label class="farm-field" key={name}>
            <span>{label}</span>
            <input
              class="farm-input"
              type="number"
              name={name}
              min={min}
              step={step}
              placeholder="as the model has it"
              title={hint}
              defaultValue={settings[name] === null ? "" : String(settings[name])}
            />
          </label>
        ))}
      </div>
      <ErrorNote problem={save.problem.value} />
      <div class="farm-settings-buttons">
        <Button onClick={close}>Cancel</Button>
        <button type="submit" class="farm-button farm-button-primary" aria-busy={save.isRunning.value}>
          Save
        </button>
      </div>
    </form>
  );
}

function valuesOf(form: FormData): Settings {
  const text = (name: string): string => String(form.get(name) ?? "").trim();
  const number = (name: string): number | null => (text(name) === "" ? null : Number(text(name)));
  return {
    system: text("system") || null,
    temperature: number("temperature"),
    top_p: number("top_p"),
    max_tokens: number("max_tokens"),
    seed: number("seed"),
  };
}
