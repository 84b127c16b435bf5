// A real OpenID Connect provider on loopback: node provider.mjs HOST PORT CLIENT SECRET BACK
// Whoever writes a name and any password on its page is that user; "name+group+group" has groups.
import { Provider } from "oidc-provider";

const [host, port, client, secret, back] = process.argv.slice(2);
const issuer = `http://${host}:${port}`;
const provider = new Provider(issuer, {
  clients: [{ client_id: client, client_secret: secret, redirect_uris: [back], response_types: ["code"], grant_types: ["authorization_code"] }],
  pkce: { required: () => true },
  scopes: ["openid", "profile", "email", "groups"],
  claims: { openid: ["sub"], profile: ["preferred_username"], email: ["email", "email_verified"], groups: ["groups"] },
  features: { devInteractions: { enabled: true } },
  ttl: { AccessToken: 300, AuthorizationCode: 60, IdToken: 300, Interaction: 300, Session: 300, Grant: 300 },
  findAccount: (_, id) => {
    const [name, ...groups] = id.split("+");
    const claims = { sub: id, preferred_username: name, email: `${name}@example.org`, email_verified: !groups.includes("unproven"), groups };
    return { accountId: id, claims: async () => claims };
  },
});
provider.on("server_error", (_, error) => console.error(error));
const server = provider.listen(Number(port), host, () => console.log(`listening ${issuer}`));
process.stdin.on("end", () => server.close(() => process.exit(0))).resume(); // ends with the test that started it
