/** The theme: the system's, unless somebody chose one. The choice is kept, and is no secret. */
import { AutoIcon, MoonIcon, SunIcon } from "./icons.js";
import { html, useState } from "./view.js";

const NAME = "truepenny.theme";
const CHOICES = [
  { theme: "", label: "System theme", icon: AutoIcon },
  { theme: "light", label: "Light theme", icon: SunIcon },
  { theme: "dark", label: "Dark theme", icon: MoonIcon },
];

function choose(theme) {
  const root = document.documentElement;
  if (theme) root.dataset.theme = theme;
  else delete root.dataset.theme;
  try {
    if (theme) localStorage.setItem(NAME, theme);
    else localStorage.removeItem(NAME);
  } catch {
    // storage is switched off: it lasts until the page is left
  }
}

/** A button that goes through the choices. */
export function ThemeToggle() {
  const [chosen, setChosen] = useState(document.documentElement.dataset.theme ?? "");
  const index = CHOICES.findIndex((choice) => choice.theme === chosen);
  const current = CHOICES[index] ?? CHOICES[0];
  const next = CHOICES[(Math.max(index, 0) + 1) % CHOICES.length];
  const change = () => {
    choose(next.theme);
    setChosen(next.theme);
  };
  const label = `${current.label}. Change to: ${next.label.toLowerCase()}`;
  return html`
    <button type="button" class="icon-button" aria-label=${label} title=${label} onClick=${change}>
      <${current.icon} />
    </button>
  `;
}
