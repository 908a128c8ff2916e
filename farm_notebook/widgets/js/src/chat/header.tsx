/** What stands above the conversation: which thread it is, who answers, and the rest behind two buttons. */

import { ErrorNote, useAction } from "../base";
import { Icon } from "./icons";
import { More, type MoreProps } from "./more";
import { Picker, type Choice } from "./picker";
import { Popover } from "./popover";
import { SettingsForm, settingsCount } from "./settings";
import type { ChatHost } from "./state";

export interface HeaderProps extends MoreProps {
  host: ChatHost;
}

export function Header({ host, ...more }: HeaderProps) {
  const choose = useAction((call: string, name: string | null) => host.call(call, { name }));
  return (
    <header class="farm-chat-head">
      <ThreadMenu host={host} onChoose={(name) => choose.run("thread", name)} />
      <span class="farm-chat-gap" />
      <ModelMenu host={host} onChoose={(name) => choose.run("model", name)} />
      <SettingsMenu host={host} />
      <Popover label="More" kind="menu" align="end" face={<Icon name="more" />}>
        {(close) => <More host={host} close={close} {...more} />}
      </Popover>
      <ErrorNote problem={choose.problem.value} onDismiss={() => (choose.problem.value = null)} />
    </header>
  );
}

interface MenuProps {
  host: ChatHost;
  onChoose: (name: string | null) => void;
}

function ThreadMenu({ host, onChoose }: MenuProps) {
  const thread = host.slice("thread").value ?? "";
  const choices = (host.slice("threads").value ?? []).map((name): Choice => ({ value: name, label: name }));
  return (
    <Popover label={`Conversation: ${thread}`} kind="listbox" face={<Face icon="chat" text={thread} />}>
      {(close) => (
        <Picker
          label="Conversation"
          placeholder="Find, or name a new one"
          choices={choices}
          chosen={thread}
          offer={(typed) => `New conversation “${typed}”`}
          onChoose={(name) => {
            close();
            if (name !== null && name !== thread) onChoose(name);
          }}
        />
      )}
    </Popover>
  );
}

function ModelMenu({ host, onChoose }: MenuProps) {
  const model = host.slice("model").value ?? null;
  const usual = host.slice("default_model").value ?? "";
  const models = host.slice("models").value;
  const list = useAction(() => host.call("models"));
  const choices: Choice[] = [
    { value: null, label: usual || "default", note: "default" },
    ...(models ?? []).map(({ name, note, group, sees }): Choice => ({
      value: name,
      label: name,
      group,
      note: [note, sees ? "sees pictures" : ""].filter(Boolean).join(" · "),
    })),
  ];
  if (model !== null && !choices.some(({ value }) => value === model)) {
    choices.splice(1, 0, { value: model, label: model, note: "not listed" });
  }
  const shown = model ?? (usual || "default");
  return (
    <Popover
      label={`Model: ${shown}`}
      kind="listbox"
      align="end"
      face={<Face text={shown} />}
      onOpen={() => list.run()}
    >
      {(close) => (
        <>
          <Picker
            label="Model"
            placeholder="Find, or type a name"
            choices={choices}
            chosen={model}
            offer={(typed) => `Use “${typed}”`}
            {...(list.isRunning.value ? { status: "Asking the providers…" } : {})}
            onChoose={(name) => {
              close();
              if (name !== model) onChoose(name);
            }}
          />
          <ErrorNote problem={list.problem.value} />
        </>
      )}
    </Popover>
  );
}

function SettingsMenu({ host }: { host: ChatHost }) {
  const settings = host.slice("settings").value;
  const count = settingsCount(settings);
  const label = count ? `Settings: ${count} set` : "Settings";
  const face = (
    <>
      <Icon name="gear" />
      {count ? <span class="farm-chat-badge">{count}</span> : null}
    </>
  );
  return (
    <Popover label={label} kind="dialog" align="end" face={face}>
      {(close) => (settings ? <SettingsForm host={host} settings={settings} close={close} /> : null)}
    </Popover>
  );
}

function Face({ icon, text }: { icon?: "chat"; text: string }) {
  return (
    <>
      {icon ? <Icon name={icon} /> : null}
      <span class="farm-popover-text">{text}</span>
      <Icon name="chevron" />
    </>
  );
}
