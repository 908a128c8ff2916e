/** Turns a component into what anywidget shows. */

import type { AnyWidget } from "@anywidget/types";
import { render, type ComponentType } from "preact";
import { Host, type Model, type PartHost } from "./host";
import { keepKeys } from "./keys";
import { ConnectionNote } from "./notes";
import { hideStatic } from "./static";
import { View } from "./view";

/** What the component of a whole panel gets. */
export interface PanelProps {
  host: Host;
  view: View;
}

/** What the component of one part gets. */
export interface PartProps<S extends object> {
  host: PartHost<S>;
}

/** A panel whose component sees all its parts, such as a dashboard. */
export function mount(Panel: ComponentType<PanelProps>): AnyWidget {
  return () => {
    let host: Host | undefined; // one a widget; anywidget calls this function once for each
    return {
      initialize({ model }) {
        const made = (host = new Host(model as unknown as Model));
        const showStatic = hideStatic(made);
        return () => {
          showStatic();
          made.dispose();
        };
      },
      render({ model, el }) {
        const shared = (host ??= new Host(model as unknown as Model));
        const root = el.appendChild(document.createElement("div"));
        root.className = "farm-panel";
        const view = new View(shared, root);
        const letKeysGo = keepKeys(root);
        render(<Whole host={shared} view={view} panel={Panel} />, root);
        return () => {
          render(null, root);
          letKeysGo();
          view.dispose();
          root.remove();
        };
      },
    };
  };
}

/** A panel of one part. */
export function mountPart<S extends object>(name: string, Part: ComponentType<PartProps<S>>): AnyWidget {
  return mount(({ host }) => <Part host={host.part<S>(name)} />);
}

/** Nothing but a line until the state has arrived, so that components need not draw an empty panel. */
function Whole({ host, view, panel: Panel }: PanelProps & { panel: ComponentType<PanelProps> }) {
  return (
    <>
      <ConnectionNote host={host} />
      {host.connection.value === "waiting" ? null : <Panel host={host} view={view} />}
    </>
  );
}
