package gemm
import ("testing";"time";"fmt";"unsafe")
func TestTmpAMX(t *testing.T){
 for _,c:=range []struct{pa,pb,steps,n int; direct int}{{1,1,18,1,1},{1,1,18,1,0},{1,1,18,16,1},{1,1,18,16,0},{1,1,4,1,1},{1,1,32,16,1},{3,3,6,1,1},{3,3,6,1,0},{3,3,10,10,1},{3,3,10,10,0},{3,3,16,16,1},{3,3,2,1,1}}{
  a:=make([]uint32,c.steps*c.pa*512+64); b:=make([]uint32,c.n*c.steps*c.pb*512+64); cc:=make([]float32,32*32*c.n+64); s:=make([]uint32,4096)
  var tl tile
  best:=0.0
  for r:=0;r<2000;r++{
   tl=tile{k:c.steps,a:alignedWords(a),b:alignedWords(b),lda:64,groupA:1024,stepA:2048*c.pa,nextB:2048*c.pb*c.steps,n:c.n,c:unsafe.Pointer(&cc[0]),ldc:128*c.n,nextC:128,mask:1<<32-1,rows:32,direct:c.direct,scratch:alignedWords(s),alpha:1}
   st:=time.Now(); amxTiles[c.pa/2][c.pb/2][1][1](&tl); d:=time.Since(st)
   fl:=float64(c.steps*c.n)*65536*float64(c.pa*c.pb); if c.pa*c.pb==9 {fl=fl*6/9}
   if v:=fl/float64(d.Nanoseconds()); v>best {best=v}
  }
  fmt.Printf("%+v: %.0f GFLOP/s of tiles\n",c,best)
 }
 for _,k:=range []amxKind{0,1,2}{ for turn:=range 2{ for al:=range 2{
  src:=make([]float32,64*1024); dst:=make([]uint32,512*3*64+64)
  var p amxPack; p.dst=alignedWords(dst); best:=1e9
  for r:=0;r<1000;r++{
   if al==0 { for i:=range 16 { p.rows[i]=unsafe.Pointer(&src[i*(576+16)]) }; p.n=512; p.step=2048; if k==2 {p.step=6144}
     p.dst=alignedWords(dst); st:=time.Now(); packAMXAcross[k][turn](&p); best=min(best,float64(time.Since(st).Nanoseconds())/16)
   } else { p.rows[0]=unsafe.Pointer(&src[0]); p.ld=576*4+64; p.groups=8; p.nextSrc=64; p.nextDst=2048; if k==2 {p.nextDst=6144}; p.mask=65535; p.n=32
     st:=time.Now(); packAMXAlong[k][turn](&p); best=min(best,float64(time.Since(st).Nanoseconds())/8)
   }
  }
  fmt.Printf("pack kind %d turn %d along %d: %.1f ns a tile\n",k,turn,al,best)
 }}}
}
