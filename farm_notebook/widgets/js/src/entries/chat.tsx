import "../base/base.css";
import "../markdown/markdown.css";
import "../chat/chat.css";
import { mount } from "../base";
import { ChatPanel } from "../chat/chat";
import { notebookOf } from "../chat/notebook";
import type { ChatSlices } from "../chat/state";

export default mount(({ host }) => <ChatPanel host={host.part<ChatSlices>("chat")} notebook={notebookOf(host.manager)} />);
