//! What an operator may say from the page. The token is asked for once, and kept for as long as the tab is open.

/** Has `node` drained, or lets it be used again. What becomes of it is seen among the decisions. */
export async function drain(node: string, wanted: boolean): Promise<void> {
  const token = sessionStorage.getItem(KEY) ?? prompt("The operator's token (--operator-token-file of the traffic manager):");
  if (!token) return;
  const path = `/v1/nodes/${encodeURIComponent(node)}/drain`;
  const headers = { authorization: `Bearer ${token.trim()}` };
  try {
    const answer = await fetch(path, { method: wanted ? "POST" : "DELETE", headers });
    if (answer.ok) return sessionStorage.setItem(KEY, token);
    if (answer.status === 401) sessionStorage.removeItem(KEY);
    const said = (await answer.json().catch(() => ({}))) as { error?: string };
    alert(said.error ?? `the traffic manager answered ${answer.status}`);
  } catch {
    alert("the traffic manager does not answer");
  }
}

const KEY = "operator";
