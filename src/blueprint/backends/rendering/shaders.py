"""The shaders of the raster renderer.

Light is computed at the vertices by the equations of OpenGL's fixed pipeline (OpenGL 2.1 specification, 2.14.1, local
viewer), which MuJoCo's renderer uses: colour = texture * (emission + sum of lights), clamped per pass. What the
shadow-casting light adds travels apart, so that a pixel in its shadow leaves it out. Alpha carries the body.
"""

LIGHTS = 16  # at most, the headlight included
PARTS = 1024  # at most: what a block of uniforms holds

# MuJoCo hangs a cone of haze between an endless plane and the horizon, thickest at `thick` of the way up. far: distance
# on the plane, as a share of the sky's radius
_VEIL = """
uniform vec3 haze;
uniform vec3 haze_m;  // radius of the sky, share of it that is hazy, thick
float veil(float far) {
  float h = 1.0 - 1.0 / (far + haze_m.y);
  return max(0.0, h < haze_m.z ? h / haze_m.z : (1.0 - h) / (1.0 - haze_m.z));
}
"""

_POSES = f"""#version 430
layout(location = 0) in vec3 position;
layout(location = 3) in int geom;
struct Pose {{ vec4 x, y, z; }};
layout(std140, binding = 0) uniform Poses {{ Pose poses[{PARTS}]; }};
vec3 world() {{
  Pose pose = poses[geom];
  vec4 local = vec4(position, 1.0);
  return vec3(dot(pose.x, local), dot(pose.y, local), dot(pose.z, local));
}}
"""

_SURFACE_VERTEX = (
    _POSES
    + _VEIL
    + f"""
layout(location = 1) in vec3 normal;
layout(location = 2) in vec3 texcoord;  // u, v, layer
struct Material {{ vec4 color; vec4 gloss; }};  // rgb, emission; specular, shininess, body / 255, haze
layout(std140, binding = 1) uniform Materials {{ Material materials[{PARTS}]; }};
layout(std140, row_major, binding = 2) uniform Frame {{
  mat4 project;          // world -> clip
  vec4 eye;
  vec4 place[{LIGHTS}];      // w = 0: towards the light; w = 1: where it stands
}};
uniform mat4 shadow;    // world -> shadow map
uniform vec4 aim[{LIGHTS}];        // where a spot shines, cosine of its half angle
uniform vec4 fade[{LIGHTS}];       // attenuation: constant, linear, quadratic; exponent of a spot
uniform vec3 ambient[{LIGHTS}];
uniform vec3 diffuse[{LIGHTS}];
uniform vec3 specular[{LIGHTS}];
out vec3 base;
out vec3 lit;
out vec3 shaded;
flat out float body;
TEXTURED out vec2 uv;
TEXTURED flat out float layer;

vec3 light(int i, vec3 p, vec3 n, vec3 view, vec4 color, vec4 gloss) {{
  vec3 towards = place[i].xyz;
  float strength = 1.0;
  SPOTS if (place[i].w > 0.0) {{
    SPOTS towards -= p;
    SPOTS float far = length(towards);
    SPOTS towards /= far;
    SPOTS float inside = dot(-towards, aim[i].xyz);
    SPOTS strength = inside < aim[i].w ? 0.0 : (fade[i].w > 0.0 ? pow(max(inside, 0.0), fade[i].w) : 1.0);
    SPOTS strength /= fade[i].x + fade[i].y * far + fade[i].z * far * far;
  SPOTS }}
  float slope = dot(n, towards);
  vec3 sum = ambient[i] * color.rgb;
  if (slope > 0.0) {{
    sum += diffuse[i] * color.rgb * slope;
    float gleam = max(dot(n, normalize(towards + view)), 0.0);
    sum += specular[i] * gloss.x * (gloss.y > 0.0 ? pow(gleam, gloss.y) : 1.0);
  }}
  return strength * sum;
}}

void main() {{
  Pose pose = poses[geom];
  vec4 color = materials[geom].color, gloss = materials[geom].gloss;
  vec3 p = world();
  vec3 n = normalize(vec3(dot(pose.x.xyz, normal), dot(pose.y.xyz, normal), dot(pose.z.xyz, normal)));
  vec3 view = normalize(eye.xyz - p);
  base = color.rgb * color.a;
  lit = vec3(0.0);
  for (int i = 0; i < COUNT; i++) {{
    vec3 more = light(i, p, n, view, color, gloss);
    if (i == KEY) lit = more; else base += more;
  }}
  base = min(base, 1.0);
  lit = min(lit, 1.0);
  if (gloss.w > 0.0) {{
    float share = veil(distance(eye.xy, p.xy) / haze_m.x);
    base = mix(base, haze, share);
    lit *= 1.0 - share;
  }}
  vec4 seen = shadow * vec4(p, 1.0);
  shaded = seen.xyz / seen.w;
  body = gloss.z;
  TEXTURED uv = texcoord.xy;
  TEXTURED layer = texcoord.z;
  gl_Position = project * vec4(p, 1.0);
}}
"""
)

_SURFACE_FRAGMENT = """#version 430
in vec3 base;
in vec3 lit;
in vec3 shaded;
flat in float body;
TEXTURED in vec2 uv;
TEXTURED flat in float layer;
TEXTURED uniform sampler2DArray pictures;
uniform sampler2DShadow shadows;
layout(location = 0) out vec4 color;
void main() {
  vec3 surface = vec3(1.0);
  TEXTURED surface = texture(pictures, vec3(uv, layer)).rgb;
  color = vec4((base + texture(shadows, shaded) * lit) * surface, body);
}
"""

_CAST_VERTEX = _POSES + "uniform mat4 project;\nvoid main() { gl_Position = project * vec4(world(), 1.0); }"
_CAST_FRAGMENT = "#version 430\nvoid main() {}"

_SCREEN_VERTEX = """#version 430
void main() { gl_Position = vec4(4.0 * (gl_VertexID & 1) - 1.0, 2.0 * (gl_VertexID & 2) - 1.0, 0.0, 1.0); }
"""

# one square of the picture per instance
_TILE_VERTEX = """#version 430
layout(std430, binding = 2) readonly buffer Tiles { vec2 tiles[]; };  // corner, in squares
uniform vec2 square;  // size of one, in halves of the picture
void main() {
  vec2 corner = vec2(gl_VertexID & 1, (gl_VertexID >> 1) & 1);
  gl_Position = vec4(square * (tiles[gl_InstanceID] + corner) * vec2(1.0, -1.0) + vec2(-1.0, 1.0), 0.0, 1.0);
}
"""

# what stands still, drawn before in the shadow, wherever the shadow is now
_DARKEN_FRAGMENT = """#version 430
uniform sampler2D dark;
uniform sampler2D depths;
uniform sampler2DShadow shadows;
uniform mat4 shadow;  // pixel and depth -> shadow map
layout(location = 0) out vec4 color;
void main() {
  ivec2 at = ivec2(gl_FragCoord.xy);
  vec4 seen = shadow * vec4(gl_FragCoord.xy, texelFetch(depths, at, 0).r, 1.0);
  if (texture(shadows, seen.xyz / seen.w) > 0.5) discard;
  color = texelFetch(dark, at, 0);
}
"""

_SKY_FRAGMENT = f"""#version 430
uniform samplerCube sky;
uniform mat3 direction;  // pixel -> world
uniform vec3 up;         // height of the eye above an endless plane, as a share of the sky's radius; 0, 0
{_VEIL}
layout(location = 0) out vec4 color;
void main() {{
  vec3 along = direction * vec3(gl_FragCoord.xy, 1.0);
  color = vec4(texture(sky, vec3(along.x, along.z, -along.y)).rgb, 0.0);  // in the cube, y is up
  if (up.x > 0.0 && along.z < 0.0) color.rgb = mix(color.rgb, haze, veil(-up.x * length(along.xy) / along.z));
}}
"""


def surface(textured: bool, *, lights: int, key: int, spots: bool) -> tuple[str, str]:
    """Vertex and fragment shader. key: the light that casts the shadow, -1 = none; spots: whether some stand near."""
    kinds = {"TEXTURED": textured, "SPOTS": spots}
    vertex = _variant(_SURFACE_VERTEX, kinds).replace("COUNT", str(lights)).replace("KEY", str(key))
    return vertex, _variant(_SURFACE_FRAGMENT, kinds)


def cast() -> tuple[str, str]:
    return _CAST_VERTEX, _CAST_FRAGMENT


def darken() -> tuple[str, str]:
    return _TILE_VERTEX, _DARKEN_FRAGMENT


def sky() -> tuple[str, str]:
    return _SCREEN_VERTEX, _SKY_FRAGMENT


def _variant(source: str, kinds: dict[str, bool]) -> str:
    """Keeps or drops the lines that begin with a word of `kinds`."""
    lines = []
    for line in source.splitlines():
        word, _, rest = line.strip().partition(" ")
        if kinds.get(word, True):
            lines.append(rest if word in kinds else line)
    return "\n".join(lines)
