/** All panels in one, each below a tab. Only the open one is looked after by the kernel. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import type { PanelProps } from "../base";
import { ChatPanel } from "../chat/chat";
import { notebookOf } from "../chat/notebook";
import type { ChatSlices } from "../chat/state";
import { GPUPanel } from "../gpu/gpu";
import type { GPUSlices } from "../gpu/values";
import { HealthPanel, type HealthSlices } from "../health/health";
import { ModelsPanel } from "../models/models";
import type { ModelsSlices } from "../models/values";
import { UsagePanel } from "../usage/usage";
import type { UsageSlices } from "../usage/values";
import { Tabs, type Tab } from "./tabs";

export function Dashboard({ host, view }: PanelProps) {
  const open = useSignal("chat");
  useEffect(() => {
    view.laidOut.value = [open.value];
  }, [open.value]);
  const tabs: Tab[] = [
    {
      name: "chat",
      title: "Chat",
      content: <ChatPanel host={host.part<ChatSlices>("chat")} notebook={notebookOf(host.manager)} />,
    },
    { name: "models", title: "Models", content: <ModelsPanel host={host.part<ModelsSlices>("models")} /> },
    { name: "gpu", title: "Devices", content: <GPUPanel host={host.part<GPUSlices>("gpu")} /> },
    { name: "health", title: "Health", content: <HealthPanel host={host.part<HealthSlices>("health")} /> },
    { name: "usage", title: "Usage", content: <UsagePanel host={host.part<UsageSlices>("usage")} /> },
  ];
  return <Tabs label="Panels" tabs={tabs} open={open.value} onOpen={(name) => (open.value = name)} />;
}
