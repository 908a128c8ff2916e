/** The panel's icons, drawn in the colour of the text around them. What they mean stands in words beside or on them. */

const PATHS = {
  attach: "M21 11.5 12.2 20.3a5.5 5.5 0 0 1-7.8-7.8l8.8-8.8a3.7 3.7 0 0 1 5.2 5.2l-8.8 8.8a1.8 1.8 0 0 1-2.6-2.6l8.1-8.1",
  chat: "M21 12a8 8 0 0 1-8 8H4l2-3.2A8 8 0 1 1 21 12z",
  check: "M5 12.5 10 17.5 19 7",
  chevron: "M6 9l6 6 6-6",
  close: "M6 6l12 12M18 6 6 18",
  copy: "M9 9h10v11H9zM5 15V4h10",
  edit: "M4 20l1-4L16.5 4.5l3 3L8 19z",
  gear: "M4 7h9M17 7h3M4 17h3M11 17h9M15 4.5v5M9 14.5v5",
  more: "M5 12h.01M12 12h.01M19 12h.01",
  retry: "M20 11a8 8 0 1 0-.9 4.6M20 4v7h-7",
  send: "M12 19V5M6 11l6-6 6 6",
} as const;

export function Icon({ name }: { name: keyof typeof PATHS }) {
  return (
    <svg class={`farm-icon farm-icon-${name}`} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** A button that is an icon; its name is its tooltip, too. */
export interface IconButtonProps {
  name: keyof typeof PATHS;
  label: string;
  onClick: () => void;
  isDisabled?: boolean;
}

export function IconButton({ name, label, onClick, isDisabled = false }: IconButtonProps) {
  return (
    <button type="button" class="farm-icon-button" aria-label={label} title={label} disabled={isDisabled} onClick={onClick}>
      <Icon name={name} />
    </button>
  );
}
